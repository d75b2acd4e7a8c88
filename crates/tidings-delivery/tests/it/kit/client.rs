use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::PATIENCE;

/// The client's end of a WebSocket, after the handshake; reads frames as they are.
pub(crate) struct Client<IO = TcpStream> {
    pub(crate) io: IO,
}

/// One frame of the server's.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    Text(Value),
    /// Text that is no JSON.
    Raw(String),
    Binary(Vec<u8>),
    Ping,
    Pong(Vec<u8>),
    Close(Option<u16>),
    /// The server has ended its side.
    End,
    /// The connection was reset.
    Reset,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    pub(crate) const fn new(io: IO) -> Self {
        Self { io }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("sends");
    }

    /// Sends one masked frame.
    pub(crate) async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send_raw(&masked(first, payload)).await;
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.send_frame(0x81, text.as_bytes()).await;
    }

    /// The next frame, whatever it is.
    pub(crate) async fn next(&mut self) -> Frame {
        match tokio::time::timeout(PATIENCE, self.read_frame()).await.expect("a frame comes") {
            Ok(frame) => frame,
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Frame::End,
            Err(_) => Frame::Reset,
        }
    }

    async fn read_frame(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 2];
        self.io.read_exact(&mut head).await?;
        assert_eq!(head[0] & 0xF0, 0x80, "a server's frame is final and has no reserved bits");
        assert_eq!(head[1] & 0x80, 0, "a server's frame is not masked");
        let length = match head[1] {
            126 => usize::from(self.io.read_u16().await?),
            127 => self.io.read_u64().await? as usize,
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.io.read_exact(&mut payload).await?;
        Ok(match head[0] & 0x0F {
            0x1 => {
                let text = String::from_utf8(payload).expect("text is UTF-8");
                serde_json::from_str(&text).map_or(Frame::Raw(text), Frame::Text)
            }
            0x2 => Frame::Binary(payload),
            0x8 => Frame::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            0x9 => Frame::Ping,
            0xA => Frame::Pong(payload),
            other => panic!("opcode {other}"),
        })
    }

    /// The next text message.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            match self.next().await {
                Frame::Text(value) => return value,
                Frame::Ping => {}
                other => panic!("{other:?} instead of a message"),
            }
        }
    }

    /// The next message, which must be of this type.
    pub(crate) async fn expect(&mut self, message_type: &str) -> Value {
        let message = self.message().await;
        assert_eq!(message["type"], message_type, "{message}");
        message
    }

    /// Reads events up to `last`: they must be `first..=last`, in order, with nothing between them.
    pub(crate) async fn expect_events(&mut self, first: u64, last: u64) {
        for seq in first..=last {
            let message = self.message().await;
            assert_eq!(message["seq"], seq, "{message}");
        }
    }

    /// `stream.closing` and the close frame with `code`, then the end of the server's side.
    pub(crate) async fn expect_close(&mut self, code: u16) -> Value {
        let closing = self.expect("stream.closing").await;
        assert_eq!(closing["code"], code, "{closing}");
        assert_eq!(self.next().await, Frame::Close(Some(code)));
        assert_eq!(self.next().await, Frame::End);
        closing
    }
}

pub(crate) fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            out.push(0xFE);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0xFF);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    let mask = [0x11, 0xA2, 0x33, 0xF4];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    out
}
