//! Everything that a tenant can do too much of, at once.

use std::{io::Read as _, sync::atomic::Ordering, time::Duration};

use anyhow::Context as _;
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use serde::{Deserialize, Serialize};

use super::{Signals, make_endpoint};
use crate::load::{
    await_ready,
    clock::Ticker,
    crowd::connect,
    http::HttpConnection,
    message::{self, Stamp},
    receiver::Receivers,
    target::{Target, Transport},
};

/// Each connection asks again as soon as it is answered, whatever the answer is.
#[derive(Debug, Clone)]
pub struct FloodLoad {
    pub target: Target,
    pub publishers: usize,
    pub enqueuers: usize,
    /// They ask for jobs, and leave them to their lease.
    pub lessees: usize,
    /// Streams that are opened and closed at once.
    pub streams: usize,
    /// Endpoints that never answer: what is published waits for them.
    pub endpoints: usize,
    pub message_bytes: usize,
}

/// What came of it while it was measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FloodReport {
    pub publishes: Answers,
    pub enqueues: Answers,
    pub leases: Answers,
    pub streams: Answers,
    /// Connections that the server ended, and that were made anew.
    pub ended: u64,
    /// Connections at the endpoints that wait for an answer.
    pub hanging: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Answers {
    /// 1xx and 2xx.
    pub granted: u64,
    /// 429.
    pub limited: u64,
    /// Everything else.
    pub refused: u64,
}

impl Answers {
    const fn count(&mut self, status: u16) {
        match status {
            101..300 => self.granted += 1,
            429 => self.limited += 1,
            _ => self.refused += 1,
        }
    }
}

impl FloodReport {
    /// Whether a part of it never got what it asked for: then there was no such flood.
    pub(super) fn is_dry(&self) -> bool {
        let all = [self.publishes, self.enqueues, self.leases];
        // The rate of an address and that of a tenant together may let no stream through for seconds.
        let streams = self.streams.granted + self.streams.limited;
        all.iter().any(|answers| answers.granted == 0) || streams == 0 || self.hanging == 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Publish,
    Enqueue,
    Lease,
}

pub(super) fn run(load: &FloodLoad, signals: &Signals) -> anyhow::Result<FloodReport> {
    let mut flood = Flood::open(load)?;
    let mut events = Events::with_capacity(256);
    while !signals.ended.load(Ordering::Acquire) {
        await_ready(&mut flood.poll, &mut events, Some(Duration::from_millis(20)))?;
        flood.measuring = signals.measuring.load(Ordering::Relaxed);
        for event in &events {
            flood.ready(event)?;
        }
    }
    flood.report.hanging = flood.receivers.connections() as u64;
    Ok(flood.report)
}

struct Flood<'a> {
    load: &'a FloodLoad,
    poll: Poll,
    askers: Vec<(Means, HttpConnection<()>)>,
    streams: Vec<TcpStream>,
    receivers: Receivers,
    publish: Vec<u8>,
    enqueue: Vec<u8>,
    lease: Vec<u8>,
    subscribe: Vec<u8>,
    measuring: bool,
    report: FloodReport,
}

impl<'a> Flood<'a> {
    fn open(load: &'a FloodLoad) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let all = |means, count| std::iter::repeat_n(means, count);
        let roles = all(Means::Publish, load.publishers)
            .chain(all(Means::Enqueue, load.enqueuers))
            .chain(all(Means::Lease, load.lessees));
        let mut askers = Vec::new();
        for means in roles {
            let stream = register(&poll, &load.target, askers.len())?;
            askers.push((means, HttpConnection::new(stream)));
        }
        let mut streams = Vec::new();
        for n in 0..load.streams {
            streams.push(register(&poll, &load.target, askers.len() + n)?);
        }
        let mut receivers = Receivers::listen(&poll, load.endpoints, askers.len() + load.streams)?;
        receivers.hang();
        for addr in receivers.addrs()? {
            make_endpoint(&load.target, addr)?;
        }
        let mut data = message::template(load.message_bytes);
        message::patch(&mut data, Stamp { at_us: Ticker::BASE, n: 0 });
        let post = |path, body: &str| load.target.post(path, body.as_bytes());
        let mut flood = Self {
            load,
            poll,
            askers,
            streams,
            receivers,
            publish: load.target.publish(&data),
            enqueue: post("/api/v1/jobs", r#"{"type":"bench","payload":{"page":7}}"#),
            lease: post("/api/v1/leases", r#"{"worker":"flood","types":["bench"],"max":1,"wait_s":0}"#),
            subscribe: load.target.subscribe(Transport::WebSocket),
            measuring: false,
            report: FloodReport::default(),
        };
        for index in 0..flood.askers.len() {
            flood.ask(index)?;
        }
        Ok(flood)
    }

    fn ask(&mut self, index: usize) -> anyhow::Result<()> {
        let (means, connection) = &mut self.askers[index];
        let request = match means {
            Means::Publish => &self.publish,
            Means::Enqueue => &self.enqueue,
            Means::Lease => &self.lease,
        };
        connection.send(request, ()).context("flooding")
    }

    fn ready(&mut self, event: &mio::event::Event) -> anyhow::Result<()> {
        let index = event.token().0;
        if index < self.askers.len() {
            return self.asker(index, event);
        }
        match index.checked_sub(self.askers.len()).filter(|stream| *stream < self.streams.len()) {
            Some(stream) => self.stream(stream, event),
            None => self.receivers.ready(&self.poll, event, 0, None),
        }
    }

    fn asker(&mut self, index: usize, event: &mio::event::Event) -> anyhow::Result<()> {
        let (means, connection) = &mut self.askers[index];
        if event.is_writable() && connection.flush().is_err() {
            return self.anew(index);
        }
        if !event.is_readable() && !event.is_read_closed() {
            return Ok(());
        }
        let answers = match means {
            Means::Publish => &mut self.report.publishes,
            Means::Enqueue => &mut self.report.enqueues,
            Means::Lease => &mut self.report.leases,
        };
        let (counts, mut came) = (self.measuring, false);
        let received = connection.receive(|(), answer| {
            came = true;
            if counts {
                answers.count(answer.status);
            }
            Ok(())
        });
        match received {
            Ok(()) if came => self.ask(index),
            Ok(()) => Ok(()),
            Err(_) => self.anew(index),
        }
    }

    fn anew(&mut self, index: usize) -> anyhow::Result<()> {
        self.report.ended += u64::from(self.measuring);
        let stream = register(&self.poll, &self.load.target, index)?;
        self.askers[index].1 = HttpConnection::new(stream);
        self.ask(index)
    }

    /// Says what it wants as soon as it is connected, and goes with the first byte of the answer.
    fn stream(&mut self, index: usize, event: &mio::event::Event) -> anyhow::Result<()> {
        use std::io::Write as _;
        let mut head = [0; 512];
        if event.is_readable() || event.is_read_closed() {
            match self.streams[index].read(&mut head) {
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Ok(len) if len > 0 && self.measuring => {
                    let status =
                        head.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
                    self.report.streams.count(status.unwrap_or(0));
                }
                Ok(_) => {}
                Err(_) => self.report.ended += u64::from(self.measuring),
            }
            self.streams[index] = register(&self.poll, &self.load.target, self.askers.len() + index)?;
        } else if event.is_writable() {
            // So few bytes are taken whole by a socket that has just been connected.
            let _ = self.streams[index].write(&self.subscribe);
        }
        Ok(())
    }
}

fn register(poll: &Poll, target: &Target, token: usize) -> anyhow::Result<TcpStream> {
    let mut stream = connect(target).context("connecting a flood")?;
    poll.registry().register(&mut stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
    Ok(stream)
}
