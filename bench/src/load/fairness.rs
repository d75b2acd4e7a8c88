//! One tenant's quiet load, and what another one does to it.

mod cycles;
mod flood;

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail};
use mio::{Events, Poll};
use serde::Serialize;
use tidings_testkit::socket;

use self::cycles::Cycles;
pub use self::flood::{Answers, FloodLoad, FloodReport};
use super::{
    await_ready,
    clock::Ticker,
    crowd::Crowd,
    fanout::OFFERED_MIN,
    latency::{Latencies, LatencySummary},
    process::{Processes, crowded, machine_busy_s},
    publisher::{Pace, Publishers},
    receiver::{Inbox, Receivers},
    tally::Faults,
    target::{Target, Transport},
};

/// A tenant with a paced load: a publisher, a subscriber, a webhook endpoint and a worker.
#[derive(Debug, Clone)]
pub struct FairnessLoad {
    pub target: Target,
    pub publishes_per_s: f64,
    /// Whole job cycles, one after another.
    pub jobs_per_s: f64,
    pub message_bytes: usize,
    pub warm_up: Duration,
    pub measure: Duration,
    /// What another tenant does meanwhile.
    pub flood: Option<FloodLoad>,
    pub processes: Processes,
}

#[derive(Debug, Clone, Serialize)]
pub struct FairnessReport {
    pub seconds: f64,
    /// Of the publishes and the job cycles that the schedules had, those that were answered: the lesser share.
    pub offered_ratio: f64,
    /// From the moment at which a publish was due to its answer, to the subscriber, and to the webhook's receiver.
    pub publish: LatencySummary,
    pub arrival: LatencySummary,
    pub webhook: LatencySummary,
    /// From the moment at which a job was due to the answer that confirms its completion.
    pub job: LatencySummary,
    pub flood: Option<FloodReport>,
    /// Cores that the load generator used, the flood's included.
    pub generator_load: f64,
    pub server_load: f64,
    pub others_load: f64,
    pub faults: Faults,
    /// Publishes whose webhook did not come.
    pub webhooks_lost: u64,
}

impl FairnessReport {
    /// A promise to the quiet tenant that was seen broken.
    pub fn broken(&self) -> Option<String> {
        if !self.faults.is_none() {
            return Some(self.faults.to_string());
        }
        (self.webhooks_lost > 0).then(|| format!("{} webhooks did not come", self.webhooks_lost))
    }

    pub fn objection(&self) -> Option<String> {
        if let Some(why) = self.broken() {
            return Some(why);
        }
        if self.offered_ratio < OFFERED_MIN {
            let offered = self.offered_ratio * 100.0;
            return Some(format!("only {offered:.1} % of the load was offered: the run proves nothing"));
        }
        if self.flood.as_ref().is_some_and(FloodReport::is_dry) {
            return Some(
                "a part of the flood was never granted anything: there was no such flood".to_owned(),
            );
        }
        crowded(self.others_load)
    }
}

/// How long what is under way at the end may take.
const DRAIN: Duration = Duration::from_secs(20);
const PUBLISHERS: usize = 4;
/// Tokens: the subscriber's, the publishers', the receiver's.
const FIRST_PUBLISHER: usize = 1;
const FIRST_RECEIVER: usize = FIRST_PUBLISHER + PUBLISHERS;

/// What threads are told.
#[derive(Debug, Default)]
struct Signals {
    measuring: AtomicBool,
    ended: AtomicBool,
}

/// Runs the load; it blocks for its whole length.
pub fn fairness(load: &FairnessLoad) -> anyhow::Result<FairnessReport> {
    let (clock, signals) = (Ticker::start(), Signals::default());
    let mut quiet = Quiet::open(load, clock)?;
    std::thread::scope(|scope| {
        // Also after a failure the others must end.
        let end = End(&signals);
        let cycles = scope.spawn(|| cycles::run(&load.target, load.jobs_per_s, clock, &signals));
        let flood = load.flood.as_ref().map(|flood| scope.spawn(|| flood::run(flood, &signals)));
        let marks = quiet.run(load, &signals);
        drop(end);
        let cycles = cycles.join().map_err(|_| anyhow::anyhow!("the worker panicked"))?;
        let flood = flood.map(|flood| flood.join().map_err(|_| anyhow::anyhow!("the flood panicked"))?);
        Ok(quiet.report(load, &marks?, &cycles?, flood.transpose()?))
    })
}

struct End<'a>(&'a Signals);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

/// All of it but the jobs, in one loop.
struct Quiet {
    poll: Poll,
    events: Option<Events>,
    clock: Ticker,
    crowd: Crowd,
    publishers: Publishers,
    receivers: Receivers,
    measuring: bool,
    publish: Latencies,
    arrival: Latencies,
    webhook: Latencies,
}

/// Counters at one moment.
struct Mark {
    at_us: u64,
    acknowledged: u64,
    server_s: f64,
    own_s: f64,
    busy_s: f64,
}

impl Quiet {
    fn open(load: &FairnessLoad, clock: Ticker) -> anyhow::Result<Self> {
        let mut poll = Poll::new()?;
        let crowd = Crowd::connect(&mut poll, &load.target, Transport::WebSocket, 1)?;
        let pace = Pace::Paced { per_second: load.publishes_per_s };
        let publishers =
            Publishers::connect(&poll, &load.target, pace, PUBLISHERS, load.message_bytes, FIRST_PUBLISHER)?;
        let receivers = Receivers::listen(&poll, 1, FIRST_RECEIVER)?;
        for addr in receivers.addrs()? {
            make_endpoint(&load.target, addr)?;
        }
        Ok(Self {
            poll,
            events: Some(Events::with_capacity(64)),
            clock,
            crowd,
            publishers,
            receivers,
            measuring: false,
            publish: Latencies::new(),
            arrival: Latencies::new(),
            webhook: Latencies::new(),
        })
    }

    fn run(&mut self, load: &FairnessLoad, signals: &Signals) -> anyhow::Result<(Mark, Mark)> {
        self.publish_for(load.warm_up)?;
        self.measuring = true;
        signals.measuring.store(true, Ordering::Release);
        let start = self.mark(load)?;
        self.publish_for(load.measure)?;
        let end = self.mark(load)?;
        signals.measuring.store(false, Ordering::Release);
        self.measuring = false;
        let until = self.clock.now_us() + DRAIN.as_micros() as u64;
        while !self.has_all() && self.clock.now_us() < until {
            self.turn(Duration::from_millis(20))?;
        }
        Ok((start, end))
    }

    fn has_all(&self) -> bool {
        let acknowledged = self.publishers.acknowledged;
        self.publishers.unanswered() == 0
            && self.crowd.subscribers[0].tally.stamped >= acknowledged
            && self.delivered() >= acknowledged
    }

    fn delivered(&self) -> u64 {
        self.receivers.inboxes().iter().map(Inbox::distinct).sum()
    }

    fn publish_for(&mut self, length: Duration) -> anyhow::Result<()> {
        let until = self.clock.now_us() + length.as_micros() as u64;
        while self.clock.now_us() < until {
            self.publishers.pump(self.clock, false)?;
            let wait = self.publishers.wait(self.clock.now_us()).min(Duration::from_millis(20));
            self.turn(wait)?;
        }
        Ok(())
    }

    fn turn(&mut self, wait: Duration) -> anyhow::Result<()> {
        let mut events = self.events.take().context("a turn is taken by itself")?;
        let wait = if self.crowd.has_more() { Duration::ZERO } else { wait };
        await_ready(&mut self.poll, &mut events, Some(wait))?;
        let now_us = self.clock.now_us();
        let counts = self.measuring;
        for event in &events {
            match event.token().0 {
                0 => {
                    self.crowd.ready(event, now_us, counts.then_some(&mut self.arrival));
                }
                FIRST_PUBLISHER..FIRST_RECEIVER => {
                    self.publishers.ready(event, now_us, counts.then_some(&mut self.publish))?;
                }
                _ => self.receivers.ready(&self.poll, event, now_us, counts.then_some(&mut self.webhook))?,
            }
        }
        self.crowd.reread(now_us, counts.then_some(&mut self.arrival));
        self.events = Some(events);
        Ok(())
    }

    fn mark(&self, load: &FairnessLoad) -> anyhow::Result<Mark> {
        Ok(Mark {
            at_us: self.clock.now_us(),
            acknowledged: self.publishers.acknowledged,
            server_s: load.processes.cpu_s()?,
            own_s: Processes::own().cpu_s()?,
            busy_s: machine_busy_s()?,
        })
    }

    fn report(
        &self,
        load: &FairnessLoad,
        (start, end): &(Mark, Mark),
        cycles: &Cycles,
        flood: Option<FloodReport>,
    ) -> FairnessReport {
        let seconds = (end.at_us - start.at_us) as f64 / 1e6;
        let published = (end.acknowledged - start.acknowledged) as f64 / (load.publishes_per_s * seconds);
        let worked = cycles.latencies.summary().samples as f64 / (load.jobs_per_s * seconds);
        let (server_s, own_s) = (end.server_s - start.server_s, end.own_s - start.own_s);
        let subscriber = &self.crowd.subscribers[0];
        let acknowledged = self.publishers.acknowledged;
        let mut faults = Faults {
            ended: u64::from(subscriber.ended().is_some()),
            refused: self.publishers.refused + self.publishers.unanswered() + cycles.refused,
            first: self.publishers.refusal.as_ref().map(ToString::to_string).or_else(|| cycles.first.clone()),
            ..Faults::default()
        };
        faults.add(std::iter::once(&subscriber.tally), acknowledged);
        FairnessReport {
            seconds,
            offered_ratio: published.min(worked),
            publish: self.publish.summary(),
            arrival: self.arrival.summary(),
            webhook: self.webhook.summary(),
            job: cycles.latencies.summary(),
            flood,
            generator_load: own_s / seconds,
            server_load: server_s / seconds,
            others_load: (end.busy_s - start.busy_s - server_s - own_s).max(0.0) / seconds,
            faults,
            webhooks_lost: acknowledged.saturating_sub(self.delivered()),
        }
    }
}

/// An endpoint that gets what is published, and nothing of jobs.
fn make_endpoint(target: &Target, receiver: SocketAddr) -> anyhow::Result<()> {
    let mut stream = std::net::TcpStream::connect(target.addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let body = format!(r#"{{"url":"http://{receiver}/hook","filter":{{"types":["bench.message"]}}}}"#);
    stream.write_all(&target.post("/api/v1/webhooks", body.as_bytes()))?;
    let mut answer = [0; 4_096];
    let len = socket::read(&mut stream, &mut answer)?;
    if !answer[..len].starts_with(b"HTTP/1.1 201") {
        bail!("making an endpoint was answered {}", String::from_utf8_lossy(&answer[..len]));
    }
    Ok(())
}
