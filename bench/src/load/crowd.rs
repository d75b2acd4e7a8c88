//! Many subscribers in one thread.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::{
    await_ready,
    clock::Ticker,
    latency::Latencies,
    subscriber::{Drained, Sink, Subscriber},
    tally::Faults,
    target::{Target, Transport},
};

/// Handshakes that are under way at once: below any listener's backlog.
const CONNECTING_MAX: usize = 256;
/// How long connecting and asking may take for all.
const CONNECT_DEADLINE: Duration = Duration::from_mins(1);
const SCRATCH_BYTES: usize = 128 * 1024;

/// Subscribers with the tokens from 0 on.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) subscribers: Vec<Subscriber>,
    request: Vec<u8>,
    scratch: Vec<u8>,
    /// Those whose sockets hold more than one read took.
    again: Vec<usize>,
    /// One subscriber in so many counts its latencies.
    pub(crate) sample_every: usize,
}

/// A socket that is connecting. It ends with a reset, so that no port stays in `TIME_WAIT`.
pub(crate) fn connect(target: &Target) -> io::Result<TcpStream> {
    let addr = target.addr;
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
    if let Some(from) = target.from {
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&addr.into()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(e) => return Err(e),
    }
    Ok(TcpStream::from_std(socket.into()))
}

impl Crowd {
    /// Connects `count` subscribers and returns once all of them are streaming.
    pub(crate) fn connect(
        poll: &mut Poll,
        target: &Target,
        transport: Transport,
        count: usize,
    ) -> anyhow::Result<Self> {
        let mut crowd = Self {
            subscribers: Vec::with_capacity(count),
            request: target.subscribe(transport),
            scratch: vec![0; SCRATCH_BYTES],
            again: Vec::new(),
            sample_every: 1,
        };
        let mut events = Events::with_capacity(1_024);
        let deadline = Instant::now() + CONNECT_DEADLINE;
        let (mut streaming, mut waiting) = (0, Vec::new());
        while streaming < count {
            while waiting.len() < CONNECTING_MAX && crowd.subscribers.len() < count {
                let mut stream = connect(target).context("connecting a subscriber")?;
                let token = crowd.subscribers.len();
                poll.registry().register(
                    &mut stream,
                    Token(token),
                    Interest::READABLE | Interest::WRITABLE,
                )?;
                crowd.subscribers.push(Subscriber::new(stream, transport, target.dialect));
                waiting.push(token);
            }
            await_ready(poll, &mut events, Some(Duration::from_millis(100)))?;
            for event in &events {
                crowd.ready(event, 0, None);
            }
            crowd.reread(0, None);
            if let Some(refusal) = crowd.subscribers.iter().find_map(|s| s.refusal.clone()) {
                return Err(refusal.into());
            }
            if let Some(why) = crowd.first_end() {
                bail!("a subscriber did not get its stream: {why}");
            }
            waiting.retain(|token| !crowd.subscribers[*token].is_streaming());
            streaming = crowd.subscribers.len() - waiting.len();
            if Instant::now() > deadline {
                bail!("{streaming} of {count} subscribers have a stream after {CONNECT_DEADLINE:?}");
            }
        }
        Ok(crowd)
    }

    /// Handles what poll says of one of these sockets; returns how many stamped events came.
    pub(crate) fn ready(
        &mut self,
        event: &mio::event::Event,
        now_us: u64,
        latencies: Option<&mut Latencies>,
    ) -> u64 {
        let index = event.token().0;
        if event.is_writable() {
            self.subscribers[index].writable(&self.request);
        }
        if event.is_readable() || event.is_read_closed() { self.read(index, now_us, latencies) } else { 0 }
    }

    /// Goes on with the sockets that held more than one read took.
    pub(crate) fn reread(&mut self, now_us: u64, mut latencies: Option<&mut Latencies>) -> u64 {
        let mut stamped = 0;
        for index in std::mem::take(&mut self.again) {
            stamped += self.read(index, now_us, latencies.as_deref_mut());
        }
        stamped
    }

    pub(crate) fn has_more(&self) -> bool {
        !self.again.is_empty()
    }

    fn read(&mut self, index: usize, now_us: u64, latencies: Option<&mut Latencies>) -> u64 {
        let sampled = index.is_multiple_of(self.sample_every);
        let mut sink = Sink { now_us, stamped: 0, latencies: latencies.filter(|_| sampled) };
        if self.subscribers[index].readable(&mut self.scratch, &mut sink) == Drained::No {
            self.again.push(index);
        }
        sink.stamped
    }

    /// Serves the sockets for `hold` and nothing else: pings are answered, heartbeats are read.
    pub(crate) fn idle(&mut self, poll: &mut Poll, hold: Duration) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1_024);
        let until = Instant::now() + hold;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            await_ready(poll, &mut events, Some(left.min(Duration::from_millis(100))))?;
            for event in &events {
                self.ready(event, Ticker::BASE, None);
            }
            self.reread(Ticker::BASE, None);
        }
    }

    fn first_end(&self) -> Option<&str> {
        self.subscribers.iter().find_map(Subscriber::ended)
    }

    /// What these subscribers show after `published` stamped events were acknowledged.
    pub(crate) fn faults(&self, published: u64) -> Faults {
        let mut faults = Faults {
            ended: self.subscribers.iter().filter(|s| s.ended().is_some()).count() as u64,
            first: self.first_end().map(str::to_owned),
            ..Faults::default()
        };
        faults.add(self.subscribers.iter().map(|s| &s.tally), published);
        faults
    }
}

/// Checks that the process may hold `sockets` more descriptors.
pub(super) fn check_descriptors(sockets: usize) -> anyhow::Result<()> {
    let limits = std::fs::read_to_string("/proc/self/limits").context("reading /proc/self/limits")?;
    let line =
        limits.lines().find(|l| l.starts_with("Max open files")).context("there is a limit of open files")?;
    let soft = line.split_ascii_whitespace().nth(3).context("the limit has a value")?;
    match soft.parse::<usize>() {
        Ok(soft) if soft < sockets + 100 => {
            bail!(
                "{sockets} sockets need more than this process's {soft} descriptors: raise it with `ulimit -n`"
            )
        }
        _ => Ok(()),
    }
}
