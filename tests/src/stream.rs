//! One live stream over either transport, seen alike.

use std::{
    io,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Api, Reply,
    sse::SseClient,
    wait::LONG,
    wire::Wire,
    ws::{Frame, WsClient},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    Ws,
    Sse,
}

/// What to open.
#[derive(Debug, Clone)]
pub struct StreamRequest {
    pub live: Live,
    /// A cursor; on SSE it goes into `Last-Event-ID`.
    pub since: Option<String>,
    /// Further query parameters, already encoded: `types=job.*&owner=me`.
    pub query: String,
    /// The receive buffer's size, where it should be tiny.
    pub narrow: Option<usize>,
    /// The address that it comes from, where it is not the first of the machine.
    pub from: Option<Ipv4Addr>,
}

impl StreamRequest {
    pub fn new(live: Live) -> Self {
        Self { live, since: None, query: String::new(), narrow: None, from: None }
    }

    #[must_use]
    pub fn since(mut self, cursor: impl std::fmt::Display) -> Self {
        self.since = Some(cursor.to_string());
        self
    }

    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    #[must_use]
    pub const fn narrow(mut self, bytes: usize) -> Self {
        self.narrow = Some(bytes);
        self
    }

    #[must_use]
    pub const fn from(mut self, address: Ipv4Addr) -> Self {
        self.from = Some(address);
        self
    }

    pub fn try_open(&self, api: &Api) -> io::Result<Result<Stream, Reply>> {
        let wire = match (self.narrow, self.from) {
            (Some(bytes), _) => Wire::connect_narrow(api.addr, bytes, LONG)?,
            (None, Some(from)) => Wire::connect_from(api.addr, from, LONG)?,
            (None, None) => Wire::connect(api.addr, LONG)?,
        };
        let mut query = self.query.clone();
        let transport = match self.live {
            Live::Ws => {
                if let Some(since) = &self.since {
                    query = format!("since={since}&{query}");
                }
                let path = format!("/api/v1/ws?{}", query.trim_end_matches('&'));
                WsClient::over(wire, api, &path, &[])?.map(Inner::Ws)
            }
            Live::Sse => {
                let path = format!("/api/v1/events?{query}");
                let last: Vec<_> = self.since.iter().map(|s| ("Last-Event-ID", s.as_str())).collect();
                SseClient::over(wire, api, &path, &last)?.map(Inner::Sse)
            }
        };
        Ok(transport.map(|inner| Stream { inner, epoch: None, cursor: self.since.clone() }))
    }

    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn open(&self, api: &Api) -> Stream {
        match self.try_open(api).expect("the server answers") {
            Ok(stream) => stream,
            Err(reply) => panic!("refused: {} {}", reply.status, reply.text()),
        }
    }
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The envelope's very text.
    Event { seq: u64, raw: String },
    /// A `stream.*` message.
    Control(Value),
    /// The end: the WebSocket close code, where there was one.
    Closed(Option<u16>),
}

impl Message {
    pub fn is_control(&self, kind: &str) -> bool {
        matches!(self, Self::Control(value) if value["type"] == kind)
    }
}

#[derive(Debug)]
enum Inner {
    Ws(WsClient),
    Sse(SseClient),
}

#[derive(Debug)]
pub struct Stream {
    inner: Inner,
    epoch: Option<String>,
    cursor: Option<String>,
}

impl Stream {
    /// Where to resume from: what the documentation tells a client to remember.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The next message. [`io::ErrorKind::TimedOut`] when none came.
    pub fn next(&mut self, within: Duration) -> io::Result<Message> {
        match &mut self.inner {
            Inner::Ws(ws) => loop {
                match ws.next(within)? {
                    Frame::Text(text) => return self.take(text),
                    Frame::Close(code, _) => return Ok(Message::Closed(Some(code))),
                    Frame::End => return Ok(Message::Closed(None)),
                    Frame::Pong(_) => {}
                    other => return Err(bad(&format!("{other:?}"))),
                }
            },
            Inner::Sse(sse) => loop {
                let Some(record) = sse.next(within)? else { return Ok(Message::Closed(None)) };
                let Some(data) = record.data else { continue };
                let kind = record.event.unwrap_or_default();
                let message = self.take(data)?;
                let said = match &message {
                    Message::Event { raw, .. } => serde_json::from_str::<Value>(raw)?["type"].clone(),
                    Message::Control(value) => value["type"].clone(),
                    Message::Closed(_) => Value::Null,
                };
                if said != kind.as_str() {
                    return Err(bad(&format!("event: {kind} holds {said}")));
                }
                match (&message, record.id) {
                    (Message::Event { seq, .. }, Some(id)) => {
                        if id.rsplit_once(':').map(|(_, n)| n) != Some(&seq.to_string()) {
                            return Err(bad(&format!("id: {id} on seq {seq}")));
                        }
                        self.cursor = Some(id);
                    }
                    (Message::Event { .. }, None) => return Err(bad("an event without id:")),
                    (_, Some(id)) => self.cursor = Some(id),
                    (_, None) => {}
                }
                return Ok(message);
            },
        }
    }

    fn take(&mut self, text: String) -> io::Result<Message> {
        if let Some(seq) = leading_seq(&text) {
            if let Some(epoch) = &self.epoch {
                self.cursor = Some(format!("{epoch}:{seq}"));
            }
            return Ok(Message::Event { seq, raw: text });
        }
        let value: Value = serde_json::from_str(&text)?;
        let string = |key: &str| value[key].as_str().map(str::to_owned);
        match value["type"].as_str() {
            Some("stream.open") => {
                self.epoch = string("epoch");
                if self.cursor.is_none() {
                    self.cursor = self.epoch.as_ref().map(|e| format!("{e}:{}", value["head"]));
                }
            }
            Some("stream.reset") => {
                self.epoch = string("epoch");
                let before = value["oldest"].as_u64().unwrap_or(1).saturating_sub(1);
                self.cursor = self.epoch.as_ref().map(|e| format!("{e}:{before}"));
            }
            Some("stream.heartbeat") => self.cursor = string("cursor"),
            Some("stream.lagged") => self.cursor = string("resume_from"),
            Some(other) if other.starts_with("stream.") => {}
            _ => return Err(bad(&text)),
        }
        Ok(Message::Control(value))
    }

    /// The next event; control messages are passed over.
    ///
    /// # Panics
    /// When none comes in time, or the stream ends.
    #[track_caller]
    pub fn event(&mut self) -> (u64, String) {
        let deadline = Instant::now() + LONG;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(Message::Event { seq, raw }) => return (seq, raw),
                Ok(Message::Control(_)) => {}
                other => panic!("waited for an event: {other:?}"),
            }
        }
    }

    /// Reads until a control message of this type; everything else is passed over.
    #[track_caller]
    pub fn control(&mut self, kind: &str) -> Value {
        let deadline = Instant::now() + LONG;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(Message::Control(value)) if value["type"] == kind => return value,
                Ok(Message::Control(_) | Message::Event { .. }) => {}
                other => panic!("waited for {kind}: {other:?}"),
            }
        }
    }

    /// Reads to the end: every control message of the rest, and the close code.
    #[track_caller]
    pub fn end(&mut self, within: Duration) -> (Vec<Value>, Option<u16>) {
        let (mut controls, deadline) = (Vec::new(), Instant::now() + within);
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(Message::Control(value)) => controls.push(value),
                Ok(Message::Event { .. }) => {}
                Ok(Message::Closed(code)) => return (controls, code),
                Err(e) => panic!("waited for the end: {e}; {controls:?}"),
            }
        }
    }

    /// The WebSocket client below.
    ///
    /// # Panics
    /// On SSE.
    pub fn ws(&mut self) -> &mut WsClient {
        match &mut self.inner {
            Inner::Ws(ws) => ws,
            Inner::Sse(_) => panic!("an SSE stream takes no frames"),
        }
    }

    pub const fn wire(&mut self) -> &mut Wire {
        match &mut self.inner {
            Inner::Ws(ws) => ws.wire(),
            Inner::Sse(sse) => sse.wire(),
        }
    }
}

/// The envelope starts with its number.
pub fn leading_seq(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("{\"seq\":")?;
    digits[..digits.find(|c: char| !c.is_ascii_digit())?].parse().ok()
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
