use std::io::{self, Read as _, Write as _};

use mio::net::TcpStream;

use super::{
    http::Refusal,
    latency::Latencies,
    message, sse,
    tally::{Tally, seq},
    target::{Dialect, Transport},
    websocket,
};

/// One socket that listens.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) stream: TcpStream,
    transport: Transport,
    dialect: Dialect,
    phase: Phase,
    /// What has come of a frame, record or head that is not whole yet.
    partial: Vec<u8>,
    chunks: Option<sse::Dechunker>,
    /// The answer where the stream was refused.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) tally: Tally,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// The request has not been written.
    Connecting,
    /// Waiting for the response's head.
    Asked,
    /// Waiting for `stream.open`.
    Opening,
    Streaming,
    Ended(String),
}

/// Where what is received at one moment is counted.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    pub(crate) now_us: u64,
    pub(crate) stamped: u64,
    /// `None` outside the measured time and for subscribers that are not sampled.
    pub(crate) latencies: Option<&'a mut Latencies>,
}

/// Whether a socket may hold more than was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drained {
    Yes,
    No,
}

impl Subscriber {
    pub(crate) fn new(stream: TcpStream, transport: Transport, dialect: Dialect) -> Self {
        Self {
            stream,
            transport,
            dialect,
            phase: Phase::Connecting,
            partial: Vec::new(),
            chunks: None,
            refusal: None,
            tally: Tally::default(),
        }
    }

    pub(crate) fn is_streaming(&self) -> bool {
        self.phase == Phase::Streaming
    }

    /// Why it ended, if it has.
    pub(crate) fn ended(&self) -> Option<&str> {
        match &self.phase {
            Phase::Ended(why) => Some(why),
            _ => None,
        }
    }

    /// The socket is writable: asks, if it has not asked yet.
    pub(crate) fn writable(&mut self, request: &[u8]) {
        if self.phase != Phase::Connecting {
            return;
        }
        match self.stream.take_error() {
            Ok(None) => {}
            Ok(Some(e)) | Err(e) => return self.end(format!("connecting: {e}")),
        }
        match self.stream.write(request) {
            Ok(n) if n == request.len() => self.phase = Phase::Asked,
            Ok(_) => self.end("a fresh socket took only a part of the request".to_owned()),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {}
            Err(e) => self.end(format!("asking: {e}")),
        }
    }

    /// Reads once and counts what is whole.
    pub(crate) fn readable(&mut self, scratch: &mut [u8], sink: &mut Sink<'_>) -> Drained {
        if matches!(self.phase, Phase::Connecting | Phase::Ended(_)) {
            return Drained::Yes;
        }
        let carried = self.partial.len();
        if carried >= scratch.len() {
            self.end(format!("a message is larger than {carried} bytes"));
            return Drained::Yes;
        }
        scratch[..carried].copy_from_slice(&self.partial);
        self.partial.clear();
        let room = scratch.len() - carried;
        let came = match self.stream.read(&mut scratch[carried..]) {
            Ok(0) => {
                self.end("the server closed the connection".to_owned());
                return Drained::Yes;
            }
            Ok(came) => came,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                self.partial.extend_from_slice(&scratch[..carried]);
                return Drained::Yes;
            }
            Err(e) => {
                self.end(format!("reading: {e}"));
                return Drained::Yes;
            }
        };
        if let Err(why) = self.take(&mut scratch[..carried + came], carried, sink) {
            self.end(why);
        }
        if came < room { Drained::Yes } else { Drained::No }
    }

    /// Handles `bytes`, of which the first `carried` were handled before as far as framing goes.
    fn take(&mut self, bytes: &mut [u8], mut carried: usize, sink: &mut Sink<'_>) -> Result<(), String> {
        let mut start = 0;
        if self.phase == Phase::Asked {
            let Some(len) = self.response_head(bytes)? else {
                self.partial.extend_from_slice(bytes);
                return Ok(());
            };
            (start, carried) = (len, 0);
        }
        let bytes = &mut bytes[start..];
        let mut len = bytes.len();
        if let Some(chunks) = &mut self.chunks {
            len = carried
                + chunks.compact(&mut bytes[carried..]).map_err(|_| "a chunk is malformed".to_owned())?;
        }
        let used = match self.transport {
            Transport::WebSocket => self.frames(&bytes[..len], sink)?,
            Transport::Sse => self.records(&bytes[..len], sink)?,
        };
        self.partial.extend_from_slice(&bytes[used..len]);
        if self.chunks.as_ref().is_some_and(|c| c.ended) {
            Err("the stream came to its end".to_owned())
        } else {
            Ok(())
        }
    }

    fn response_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        let status = response.parse(bytes).map_err(|e| format!("parsing the response: {e}"))?;
        let httparse::Status::Complete(len) = status else { return Ok(None) };
        let wanted = if self.transport == Transport::WebSocket { 101 } else { 200 };
        if response.code != Some(wanted) {
            let (status, body) = (response.code.unwrap_or_default(), bytes[len..].to_vec());
            let refusal = Refusal { what: "a subscription", status, body };
            let why = refusal.to_string();
            self.refusal = Some(refusal);
            return Err(why);
        }
        let chunked = response.headers.iter().any(|h| {
            h.name.eq_ignore_ascii_case("transfer-encoding") && h.value.eq_ignore_ascii_case(b"chunked")
        });
        self.chunks = chunked.then(sse::Dechunker::default);
        self.phase = if self.dialect == Dialect::Tidings { Phase::Opening } else { Phase::Streaming };
        Ok(Some(len))
    }

    fn frames(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<usize, String> {
        let mut used = 0;
        loop {
            let frame = match websocket::parse(&bytes[used..]) {
                websocket::Parsed::Frame(frame) => frame,
                websocket::Parsed::Incomplete => return Ok(used),
                websocket::Parsed::Invalid => return Err("a frame is malformed".to_owned()),
            };
            used += frame.len;
            match frame.opcode {
                websocket::TEXT => self.message(frame.payload, sink)?,
                // A control frame is at most 131 bytes: an idle socket takes it whole.
                websocket::PING => {
                    let pong = websocket::control(websocket::PONG, frame.payload);
                    self.stream.write_all(&pong).map_err(|e| format!("answering a ping: {e}"))?;
                }
                websocket::PONG => {}
                websocket::CLOSE => return Err(format!("closed: {}", close_reason(frame.payload))),
                opcode => return Err(format!("a frame has opcode {opcode}")),
            }
        }
    }

    fn records(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<usize, String> {
        let mut used = 0;
        while let Some((data, len)) = sse::record(&bytes[used..]) {
            used += len;
            if !data.is_empty() {
                self.message(data, sink)?;
            }
        }
        Ok(used)
    }

    #[inline]
    fn message(&mut self, payload: &[u8], sink: &mut Sink<'_>) -> Result<(), String> {
        if self.dialect == Dialect::Tidings {
            match seq(payload) {
                Some(seq) => self.tally.numbered(seq),
                None => return self.control(payload),
            }
        }
        self.tally.events += 1;
        self.tally.bytes += payload.len() as u64;
        let Some(stamp) = message::read(payload) else { return Ok(()) };
        self.tally.stamped(stamp);
        sink.stamped += 1;
        if let Some(latencies) = &mut sink.latencies {
            latencies.record(sink.now_us.saturating_sub(stamp.at_us), 1);
        }
        Ok(())
    }

    fn control(&mut self, payload: &[u8]) -> Result<(), String> {
        #[derive(serde::Deserialize)]
        struct Control<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            head: Option<u64>,
        }
        let text = || String::from_utf8_lossy(payload).into_owned();
        let control: Control<'_> =
            serde_json::from_slice(payload).map_err(|_| format!("not an envelope: {}", text()))?;
        match (control.kind, control.head) {
            ("stream.open", Some(head)) => {
                self.tally.open(head);
                self.phase = Phase::Streaming;
                Ok(())
            }
            ("stream.heartbeat" | "stream.stale", _) => Ok(()),
            _ => Err(text()),
        }
    }

    fn end(&mut self, why: String) {
        self.phase = Phase::Ended(why);
    }
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            format!("{} {}", u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason))
        }
        _ => "without a code".to_owned(),
    }
}
