//! A WebSocket client that speaks correctly by default and can send anything.

use std::{io, net::SocketAddr, time::Duration};

use serde_json::Value;

use crate::{
    Api, Reply,
    http::{read_head, read_reply},
    wait::LONG,
    wire::Wire,
};

/// RFC 6455's own example of a key, and the answer that it gives to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CONTINUATION: u8 = 0x0;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Without a code it is 1005.
    Close(u16, String),
    /// The connection ended without (another) frame.
    End,
}

/// An open connection.
#[derive(Debug)]
pub struct WsClient {
    wire: Wire,
    pub head: Reply,
}

impl WsClient {
    /// The upgrade; an answer other than 101 is the error's content.
    pub fn connect(api: &Api, path: &str, headers: &[(&str, &str)]) -> io::Result<Result<Self, Reply>> {
        Self::over(Wire::connect(api.addr, LONG)?, api, path, headers)
    }

    /// Over a connection that exists.
    pub fn over(
        mut wire: Wire,
        api: &Api,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Result<Self, Reply>> {
        let mut request = format!(
            "GET {path} HTTP/1.1\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n",
            api.headers()
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        wire.write(request.as_bytes())?;
        Self::upgraded(wire)
    }

    /// Reads the answer to an upgrade request that was sent.
    pub fn upgraded(mut wire: Wire) -> io::Result<Result<Self, Reply>> {
        let head = read_head(&mut wire)?;
        if head.status != 101 {
            let mut reply = head;
            let length = reply.header("content-length").and_then(|l| l.parse().ok());
            reply.body = match length {
                Some(length) => wire.take(length)?,
                None => read_reply(&mut wire, false).map(|r| r.body).unwrap_or_default(),
            };
            return Ok(Err(reply));
        }
        if head.header("sec-websocket-accept") != Some(ACCEPT) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("wrong accept: {head:?}")));
        }
        Ok(Ok(Self { wire, head }))
    }

    /// The next frame that is no ping; pings are answered. Messages come whole: the server has no reason
    /// to fragment, so a fragment is an error.
    pub fn next(&mut self, within: Duration) -> io::Result<Frame> {
        self.wire.allow(within);
        loop {
            match self.frame()? {
                Frame::Ping(payload) => self.send(PONG, &payload)?,
                frame => return Ok(frame),
            }
        }
    }

    /// The next frame, pings included and not answered.
    pub fn next_raw(&mut self, within: Duration) -> io::Result<Frame> {
        self.wire.allow(within);
        self.frame()
    }

    fn frame(&mut self) -> io::Result<Frame> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        match self.wire.ensure(2) {
            Err(e) if ended(&e) => return Ok(Frame::End),
            other => other?,
        }
        let head = [self.wire.buffered()[0], self.wire.buffered()[1]];
        if head[0] & 0x70 != 0 {
            return Err(bad("reserved bits from the server"));
        }
        if head[0] & 0x80 == 0 {
            return Err(bad("a fragment from the server"));
        }
        if head[1] & 0x80 != 0 {
            return Err(bad("a masked frame from the server"));
        }
        let extended = match head[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        self.wire.ensure(2 + extended)?;
        let length = match extended {
            0 => usize::from(head[1]),
            _ => self.wire.buffered()[2..2 + extended].iter().fold(0, |n, b| n << 8 | usize::from(*b)),
        };
        // A frame is taken whole or not at all: a deadline inside one must not lose the place.
        match self.wire.ensure(2 + extended + length) {
            Err(e) if ended(&e) => return Ok(Frame::End),
            other => other?,
        }
        let payload = self.wire.take(2 + extended + length)?.split_off(2 + extended);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| bad("text that is not UTF-8"));
        Ok(match head[0] & 0x0F {
            TEXT => Frame::Text(text(payload)?),
            BINARY => Frame::Binary(payload),
            PING => Frame::Ping(payload),
            PONG => Frame::Pong(payload),
            CLOSE if payload.is_empty() => Frame::Close(1005, String::new()),
            CLOSE if payload.len() == 1 => return Err(bad("a close of one byte")),
            CLOSE => Frame::Close(u16::from_be_bytes([payload[0], payload[1]]), text(payload[2..].to_vec())?),
            other => return Err(bad(&format!("opcode {other}"))),
        })
    }

    /// A whole masked frame.
    pub fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        self.send_bytes(&masked(0x80 | opcode, payload))
    }

    pub fn send_json(&mut self, value: &Value) -> io::Result<()> {
        self.send(TEXT, value.to_string().as_bytes())
    }

    /// Anything at all.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write(bytes)
    }

    /// Reads on until the server closes; the code that it gave, `None` where it gave none.
    pub fn close_code(&mut self, within: Duration) -> io::Result<Option<u16>> {
        loop {
            match self.next(within) {
                Ok(Frame::Close(code, _)) => return Ok(Some(code)),
                Ok(Frame::End) => return Ok(None),
                Ok(_) => {}
                Err(e) => return Err(e),
            }
        }
    }

    pub const fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.wire.socket().peer_addr()
    }
}

/// A masked frame with this very first byte (FIN, reserved bits, opcode).
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = header(first, payload.len() as u64, true);
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]));
    frame
}

/// A frame's header that claims `length` bytes, without the mask's key.
pub fn header(first: u8, length: u64, mask: bool) -> Vec<u8> {
    let bit = if mask { 0x80 } else { 0 };
    match length {
        0..126 => vec![first, bit | length as u8],
        126..0x1_0000 => [&[first, bit | 0x7E][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, bit | 0x7F][..], &length.to_be_bytes()].concat(),
    }
}

/// The ways in which a peer's end shows.
pub fn ended(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
