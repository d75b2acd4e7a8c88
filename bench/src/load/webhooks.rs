//! Events that are published to a server and come out of it as webhooks.

use std::{io::Write as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use mio::{Events, Poll};
use serde::{Deserialize, Serialize};
use tidings_testkit::socket;

use super::{
    await_ready,
    clock::Ticker,
    crowd::check_descriptors,
    fanout::OFFERED_MIN,
    latency::{Latencies, LatencySummary},
    message,
    process::{Processes, crowded, machine_busy_s},
    publisher::{Pace, Publishers},
    receiver::{Inbox, Receivers},
    target::Target,
};

/// Publishing to endpoints that all get everything.
#[derive(Debug, Clone)]
pub struct WebhookLoad {
    pub target: Target,
    pub endpoints: usize,
    /// Whether endpoints deliver in order, one at a time.
    pub ordered: bool,
    /// Publishes that are unacknowledged while it is saturated, each on a connection of its own.
    pub in_flight: usize,
    /// Bytes of each message's JSON as published.
    pub message_bytes: usize,
    pub warm_up: Duration,
    pub measure: Duration,
    /// The saturating publisher holds back while receivers are on average so many messages behind.
    pub behind_max: u64,
    /// Afterwards, for as long: events per second of a schedule, whose latencies count.
    pub paced_per_s: f64,
    /// Whose CPU time counts as the server's.
    pub processes: Processes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WebhookReport {
    pub endpoints: usize,
    pub ordered: bool,
    pub message_bytes: usize,
    /// Bytes of an average request's body.
    pub body_bytes: f64,
    pub seconds: f64,
    pub deliveries: u64,
    pub deliveries_per_s: f64,
    pub publishes_per_s: f64,
    /// CPU time of the server and of what it works on, publishes included.
    pub cpu_us_per_delivery: f64,
    /// The share of a core that publishing and receiving took.
    pub generator_load: f64,
    /// Cores that were busy with neither the server nor the generator.
    pub others_load: f64,
    /// Paced: from the moment at which an event was due to be published to its arrival.
    pub latency: LatencySummary,
    /// Paced: publishes that were acknowledged in the measured time ÷ those that the schedule held.
    pub offered_ratio: f64,
    pub faults: DeliveryFaults,
}

impl WebhookReport {
    /// Why the run proves nothing or shows a broken promise.
    pub fn objection(&self) -> Option<String> {
        if let Some(why) = self.faults.objection() {
            return Some(why);
        }
        if self.offered_ratio < OFFERED_MIN {
            let offered = self.offered_ratio * 100.0;
            return Some(format!("only {offered:.1} % of the load was offered: the run proves nothing"));
        }
        crowded(self.others_load)
    }
}

/// What receivers show to be wrong. A receiver that always answers 200 gets every event once, although at least once is
/// all that is promised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryFaults {
    /// Acknowledged events that did not come to an endpoint.
    pub lost: u64,
    /// Requests under an id that had come before.
    pub doubled: u64,
    /// Where endpoints are ordered: events that came after a later one.
    pub disordered: u64,
    /// Requests that were none.
    pub strange: u64,
    /// Publishes that were refused or never answered.
    pub refused: u64,
}

impl DeliveryFaults {
    pub(crate) fn objection(&self) -> Option<String> {
        let Self { lost, doubled, disordered, strange, refused } = self;
        (*self != Self::default()).then(|| {
            format!(
                "{lost} deliveries lost, {doubled} doubled, {disordered} out of order, {strange} no requests, {refused} publishes refused"
            )
        })
    }
}

/// Counters at one moment.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) at_us: u64,
    pub(super) acknowledged: u64,
    pub(super) delivered: u64,
    pub(super) server_cpu_s: f64,
    own_cpu_s: f64,
    busy_s: f64,
}

impl Mark {
    pub(super) fn seconds_since(&self, start: &Self) -> f64 {
        (self.at_us - start.at_us) as f64 / 1e6
    }

    pub(super) fn cpu_us_per_delivery(&self, start: &Self) -> f64 {
        let deliveries = (self.delivered - start.delivered).max(1);
        (self.server_cpu_s - start.server_cpu_s) * 1e6 / deliveries as f64
    }

    pub(super) fn generator_load(&self, start: &Self) -> f64 {
        (self.own_cpu_s - start.own_cpu_s) / self.seconds_since(start)
    }

    pub(super) fn others_load(&self, start: &Self) -> f64 {
        let known = self.server_cpu_s - start.server_cpu_s + self.own_cpu_s - start.own_cpu_s;
        (self.busy_s - start.busy_s - known).max(0.0) / self.seconds_since(start)
    }
}

/// How long deliveries may stand still at the end before what is missing counts as lost. It is beyond the second retry.
const QUIET_US: u64 = 40_000_000;

/// Runs the load in the calling thread; it blocks for its whole length.
pub fn webhooks(load: &WebhookLoad) -> anyhow::Result<WebhookReport> {
    let mut hall = Hall::open(load.endpoints, load.in_flight, load.processes.clone())?;
    hall.make_endpoints(&load.target, load.ordered)?;
    let pace = Pace::Saturated { in_flight: load.in_flight };
    hall.publish_with(&load.target, pace, load.in_flight, load.message_bytes)?;
    hall.publish_for(load.warm_up, load.behind_max)?;
    let start = hall.mark()?;
    hall.publish_for(load.measure, load.behind_max)?;
    let end = hall.mark()?;
    hall.drain()?;
    let paced = Pace::Paced { per_second: load.paced_per_s };
    hall.publish_with(&load.target, paced, load.in_flight, load.message_bytes)?;
    hall.publish_for(load.warm_up, u64::MAX)?;
    hall.latencies = Some(Latencies::new());
    let paced_start = hall.mark()?;
    hall.publish_for(load.measure, u64::MAX)?;
    let paced_end = hall.mark()?;
    let latency = hall.latencies.take().map(|latencies| latencies.summary()).unwrap_or_default();
    hall.drain()?;
    let paced_s = paced_end.seconds_since(&paced_start);
    let (seconds, deliveries) = (end.seconds_since(&start), end.delivered - start.delivered);
    Ok(WebhookReport {
        endpoints: load.endpoints,
        ordered: load.ordered,
        message_bytes: load.message_bytes,
        body_bytes: hall.body_bytes(),
        seconds,
        deliveries,
        deliveries_per_s: deliveries as f64 / seconds,
        publishes_per_s: (end.acknowledged - start.acknowledged) as f64 / seconds,
        cpu_us_per_delivery: end.cpu_us_per_delivery(&start),
        generator_load: end.generator_load(&start),
        others_load: end.others_load(&start),
        latency,
        offered_ratio: (paced_end.acknowledged - paced_start.acknowledged) as f64
            / (load.paced_per_s * paced_s),
        faults: hall.faults(load.ordered),
    })
}

/// Publishers and receivers in one loop.
#[derive(Debug)]
pub(super) struct Hall {
    poll: Poll,
    events: Option<Events>,
    pub(super) receivers: Receivers,
    publishers: Option<Publishers>,
    /// Of publishers before these.
    acknowledged_before: u64,
    refused_before: u64,
    clock: Ticker,
    pub(super) processes: Processes,
    latencies: Option<Latencies>,
    /// Tokens from here on are the receivers'.
    first_receiver: usize,
}

impl Hall {
    pub(super) fn open(endpoints: usize, connections: usize, processes: Processes) -> anyhow::Result<Self> {
        check_descriptors(endpoints * 9 + connections)?;
        let poll = Poll::new()?;
        Ok(Self {
            receivers: Receivers::listen(&poll, endpoints, connections)?,
            poll,
            events: Some(Events::with_capacity(1_024)),
            publishers: None,
            acknowledged_before: 0,
            refused_before: 0,
            clock: Ticker::start(),
            processes,
            latencies: None,
            first_receiver: connections,
        })
    }

    /// An endpoint for each receiver. It gets what is published from here on.
    pub(super) fn make_endpoints(&self, target: &Target, ordered: bool) -> anyhow::Result<()> {
        for addr in self.receivers.addrs()? {
            make_endpoint(target, addr, ordered).context("making an endpoint")?;
        }
        Ok(())
    }

    /// Has these publish from now on. Those before must have been drained.
    pub(super) fn publish_with(
        &mut self,
        target: &Target,
        pace: Pace,
        connections: usize,
        message_bytes: usize,
    ) -> anyhow::Result<()> {
        if connections != self.first_receiver || message_bytes < message::BYTES_MIN {
            bail!("a load has publishers and messages of at least {} bytes", message::BYTES_MIN);
        }
        self.retire();
        self.publishers = Some(Publishers::connect(&self.poll, target, pace, connections, message_bytes, 0)?);
        Ok(())
    }

    /// Closes the publishers' connections: the server closes those that stay idle.
    fn retire(&mut self) {
        if let Some(before) = self.publishers.take() {
            self.acknowledged_before += before.acknowledged;
            self.refused_before += before.refused + before.unanswered();
        }
    }

    /// Publishes nothing more, once all is answered or nothing moves any more.
    pub(super) fn settle(&mut self) -> anyhow::Result<()> {
        let until = self.clock.now_us() + QUIET_US;
        while self.unanswered() > 0 && self.clock.now_us() < until {
            self.turn(Duration::from_millis(20))?;
        }
        self.retire();
        Ok(())
    }

    /// Events that were acknowledged so far.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged_before + self.publishers.as_ref().map_or(0, |publishers| publishers.acknowledged)
    }

    fn unanswered(&self) -> u64 {
        self.publishers.as_ref().map_or(0, Publishers::unanswered)
    }

    pub(super) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    pub(super) fn body_bytes(&self) -> f64 {
        self.receivers.body_bytes as f64 / self.receivers.delivered.max(1) as f64
    }

    /// How many deliveries there have to be.
    fn wanted(&self) -> u64 {
        self.acknowledged() * self.receivers.inboxes().len() as u64
    }

    /// How many there were, each counted once.
    fn distinct(&self) -> u64 {
        self.receivers.inboxes().iter().map(Inbox::distinct).sum()
    }

    pub(super) fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark {
            at_us: self.clock.now_us(),
            acknowledged: self.acknowledged(),
            delivered: self.receivers.delivered,
            server_cpu_s: self.processes.cpu_s()?,
            own_cpu_s: Processes::own().cpu_s()?,
            busy_s: machine_busy_s()?,
        })
    }

    pub(super) fn publish_for(&mut self, length: Duration, behind_max: u64) -> anyhow::Result<()> {
        let until = self.clock.now_us() + length.as_micros() as u64;
        while self.clock.now_us() < until {
            self.publish_turn(behind_max)?;
        }
        Ok(())
    }

    /// Publishes until so many were acknowledged, however far behind receivers are.
    pub(super) fn publish_until(&mut self, acknowledged: u64) -> anyhow::Result<()> {
        while self.acknowledged() < acknowledged {
            let in_all = self.acknowledged() + self.unanswered();
            if in_all < acknowledged {
                self.publish_turn(u64::MAX)?;
            } else {
                self.turn(Duration::from_millis(20))?;
            }
        }
        Ok(())
    }

    fn publish_turn(&mut self, behind_max: u64) -> anyhow::Result<()> {
        let endpoints = self.receivers.inboxes().len() as u64;
        let behind = self.wanted().saturating_sub(self.receivers.delivered);
        let held = behind > behind_max.saturating_mul(endpoints);
        let clock = self.clock;
        let publishers = self.publishers.as_mut().context("there are publishers")?;
        publishers.pump(clock, held)?;
        if publishers.refused > 1_000 {
            return Err(publishers.failure());
        }
        let wait = publishers.wait(clock.now_us());
        self.turn(wait)
    }

    /// Serves receivers alone.
    pub(super) fn serve_for(&mut self, length: Duration) -> anyhow::Result<()> {
        let until = self.clock.now_us() + length.as_micros() as u64;
        while self.clock.now_us() < until {
            self.turn(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// Waits until everything acknowledged has come everywhere, and for a double right behind.
    pub(super) fn drain(&mut self) -> anyhow::Result<()> {
        self.drain_at_once()?;
        self.serve_for(Duration::from_millis(200))
    }

    /// Returns when everything acknowledged has come everywhere, or nothing moves any more.
    pub(super) fn drain_at_once(&mut self) -> anyhow::Result<()> {
        self.settle()?;
        let (mut moved_us, mut last) = (self.clock.now_us(), 0);
        while self.distinct() < self.wanted() {
            self.turn(Duration::from_millis(20))?;
            let now = self.distinct();
            if now != last {
                (moved_us, last) = (self.clock.now_us(), now);
            } else if self.clock.now_us() - moved_us > QUIET_US {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) fn turn(&mut self, wait: Duration) -> anyhow::Result<()> {
        let mut events = self.events.take().context("a turn is taken by itself")?;
        await_ready(&mut self.poll, &mut events, Some(wait))?;
        let now_us = self.clock.now_us();
        for event in &events {
            match &mut self.publishers {
                Some(publishers) if event.token().0 < self.first_receiver => {
                    publishers.ready(event, now_us, None)?;
                }
                // Of one that has just been closed.
                None if event.token().0 < self.first_receiver => {}
                _ => self.receivers.ready(&self.poll, event, now_us, self.latencies.as_mut())?,
            }
        }
        self.events = Some(events);
        Ok(())
    }

    pub(super) fn faults(&self, ordered: bool) -> DeliveryFaults {
        let (inboxes, acknowledged) = (self.receivers.inboxes(), self.acknowledged());
        let publishers = self.publishers.as_ref().map_or(0, |p| p.refused + p.unanswered());
        DeliveryFaults {
            lost: inboxes.iter().map(|inbox| acknowledged.saturating_sub(inbox.distinct())).sum(),
            doubled: inboxes.iter().map(|inbox| inbox.doubled).sum(),
            disordered: inboxes.iter().filter(|_| ordered).map(|inbox| inbox.disordered).sum(),
            strange: self.receivers.strange,
            refused: self.refused_before + publishers,
        }
    }
}

fn make_endpoint(target: &Target, receiver: SocketAddr, ordered: bool) -> anyhow::Result<()> {
    let mut stream = std::net::TcpStream::connect(target.addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let body = format!(r#"{{"url":"http://{receiver}/hook","ordered":{ordered}}}"#);
    stream.write_all(&target.post("/api/v1/webhooks", body.as_bytes()))?;
    let mut answer = [0; 4_096];
    let len = socket::read(&mut stream, &mut answer)?;
    if !answer[..len].starts_with(b"HTTP/1.1 201") {
        bail!("the server answered {}", String::from_utf8_lossy(&answer[..len]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn receivers_that_hang_have_nothing_until_they_answer() {
        const REQUESTS: u64 = 3;
        let mut hall = Hall::open(1, 0, Processes::default()).expect("a free port");
        let addr = hall.receivers.addrs().expect("bound")[0];
        hall.receivers.hang();
        let mut streams = Vec::new();
        for n in 0..REQUESTS {
            let mut stream = std::net::TcpStream::connect(addr).expect("it listens");
            let head = format!("POST /hook HTTP/1.1\r\nwebhook-id: {n}\r\nContent-Length: 9\r\n\r\n");
            write!(stream, "{head}{{\"seq\":{}}}", n + 1).expect("it takes a request");
            streams.push(stream);
        }
        while hall.receivers.connections() < REQUESTS as usize {
            hall.turn(Duration::from_millis(20)).expect("it serves");
        }
        hall.serve_for(Duration::from_millis(50)).expect("it serves");
        assert_eq!((hall.receivers.delivered, hall.distinct()), (0, 0));
        hall.receivers.answer(0);
        for stream in &mut streams {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 200");
        }
        assert_eq!((hall.receivers.delivered, hall.distinct()), (REQUESTS, REQUESTS));
    }

    #[test]
    fn what_is_missing_double_or_late_is_an_objection() {
        assert_eq!(DeliveryFaults::default().objection(), None);
        for faults in [
            DeliveryFaults { lost: 1, ..DeliveryFaults::default() },
            DeliveryFaults { doubled: 1, ..DeliveryFaults::default() },
            DeliveryFaults { disordered: 1, ..DeliveryFaults::default() },
            DeliveryFaults { strange: 1, ..DeliveryFaults::default() },
            DeliveryFaults { refused: 1, ..DeliveryFaults::default() },
        ] {
            assert!(faults.objection().is_some(), "{faults:?}");
        }
    }
}
