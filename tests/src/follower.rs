//! A reader that goes on where it was, whatever happens to its connection.

use std::{io, time::Duration};

use serde_json::{Value, value::RawValue};

use crate::{
    Api, Message, Stream, StreamRequest,
    stream::{Live, leading_seq},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Ws,
    Sse,
    /// Replay pages of this many events at most.
    Replay {
        limit: u32,
    },
}

/// What it did in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// One event, or a page of some.
    Events(usize),
    Control,
    /// The connection is gone, or could not be made; the next step tries again.
    Disconnected,
    /// Nothing came in time.
    Nothing,
}

/// Reads one filtered stream of one tenant.
#[derive(Debug)]
pub struct Follower {
    pub api: Api,
    pub transport: Transport,
    query: String,
    cursor: Option<String>,
    stream: Option<Stream>,
    /// Everything delivered, over all connections.
    pub events: Vec<(u64, String)>,
    /// Every control message but heartbeats and `stream.open`.
    pub signals: Vec<Value>,
    pub connections: usize,
}

impl Follower {
    /// Starts before the first event.
    pub fn from_start(api: Api, transport: Transport, query: &str) -> Self {
        Self {
            api,
            transport,
            query: query.to_owned(),
            cursor: Some("0".to_owned()),
            stream: None,
            events: Vec::new(),
            signals: Vec::new(),
            connections: 0,
        }
    }

    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// One message or page. A refusal other than 503 is an error: nothing else may come of a restart.
    pub fn step(&mut self, within: Duration) -> io::Result<Step> {
        match self.transport {
            Transport::Ws => self.live_step(Live::Ws, within),
            Transport::Sse => self.live_step(Live::Sse, within),
            Transport::Replay { limit } => self.page(limit),
        }
    }

    /// Hangs up, as a client that vanishes does.
    pub fn drop_connection(&mut self) {
        self.stream = None;
    }

    fn live_step(&mut self, live: Live, within: Duration) -> io::Result<Step> {
        let Some(stream) = &mut self.stream else { return self.connect(live) };
        let message = match stream.next(within) {
            Ok(message) => message,
            Err(e) if e.kind() == io::ErrorKind::TimedOut => return Ok(Step::Nothing),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(e),
            Err(_) => Message::Closed(None),
        };
        if let Some(cursor) = stream.cursor() {
            self.cursor = Some(cursor.to_owned());
        }
        Ok(match message {
            Message::Event { seq, raw } => {
                self.events.push((seq, raw));
                Step::Events(1)
            }
            Message::Control(value) => {
                if value["type"] != "stream.heartbeat" && value["type"] != "stream.open" {
                    self.signals.push(value);
                }
                Step::Control
            }
            Message::Closed(_) => {
                self.stream = None;
                Step::Disconnected
            }
        })
    }

    fn connect(&mut self, live: Live) -> io::Result<Step> {
        let mut request = StreamRequest::new(live).query(&self.query);
        request.since.clone_from(&self.cursor);
        match request.try_open(&self.api) {
            Ok(Ok(stream)) => {
                self.stream = Some(stream);
                self.connections += 1;
                Ok(Step::Control)
            }
            Ok(Err(reply)) if reply.status == 503 => Ok(Step::Disconnected),
            Ok(Err(reply)) => Err(refused(&reply)),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(e),
            Err(_) => Ok(Step::Disconnected),
        }
    }

    fn page(&mut self, limit: u32) -> io::Result<Step> {
        let since = self.cursor.clone().unwrap_or_default();
        let path = format!("/api/v1/events?since={since}&limit={limit}&{}", self.query);
        let Ok(reply) = self.api.get(path.trim_end_matches('&')) else { return Ok(Step::Disconnected) };
        self.connections += 1;
        match reply.status {
            200 => {}
            503 => return Ok(Step::Disconnected),
            _ => return Err(refused(&reply)),
        }
        let page = Page::parse(&reply.body)?;
        let nothing = self.cursor.as_ref() == Some(&page.next);
        self.cursor = Some(page.next);
        let count = page.events.len();
        self.events.extend(page.events);
        Ok(if nothing { Step::Nothing } else { Step::Events(count) })
    }
}

/// A replay page, its events as their very bytes.
#[derive(Debug, Clone)]
pub struct Page {
    pub events: Vec<(u64, String)>,
    pub next: String,
    pub head: u64,
    pub oldest: u64,
}

impl Page {
    pub fn parse(body: &[u8]) -> io::Result<Self> {
        #[derive(serde::Deserialize)]
        struct Raw<'a> {
            #[serde(borrow)]
            events: Vec<&'a RawValue>,
            next: String,
            head: u64,
            oldest: u64,
        }
        let raw: Raw<'_> = serde_json::from_slice(body)?;
        let event = |e: &RawValue| {
            leading_seq(e.get())
                .map(|seq| (seq, e.get().to_owned()))
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no seq first: {e}")))
        };
        let events = raw.events.into_iter().map(event).collect::<io::Result<_>>()?;
        Ok(Self { events, next: raw.next, head: raw.head, oldest: raw.oldest })
    }
}

fn refused(reply: &crate::Reply) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("refused: {} {}", reply.status, reply.text()))
}
