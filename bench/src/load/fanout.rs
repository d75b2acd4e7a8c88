use std::time::Duration;

use anyhow::bail;
use mio::{Events, Poll};
use serde::{Deserialize, Serialize};

use super::{
    await_ready,
    clock::Ticker,
    crowd::{Crowd, check_descriptors},
    latency::{Latencies, LatencySummary},
    message,
    process::{Processes, crowded, machine_busy_s},
    publisher::{Pace, Publishers},
    tally::Faults,
    target::{Target, Transport},
};

/// Publishing to many subscribers who all get everything.
#[derive(Debug, Clone)]
pub struct FanoutLoad {
    /// Where the subscribers are.
    pub target: Target,
    /// Where is published, if on another node.
    pub publish_to: Option<Target>,
    pub transport: Transport,
    /// May be 0: then it measures publishing alone.
    pub subscribers: usize,
    pub pace: Pace,
    /// HTTP connections that publish.
    pub publishers: usize,
    /// Bytes of each message's JSON as published.
    pub message_bytes: usize,
    /// Load that is not measured, and then load that is.
    pub warm_up: Duration,
    pub measure: Duration,
    /// A saturating publisher holds back while subscribers are on average so many messages behind:
    /// this measures what a server can carry, not how it sheds what it cannot.
    pub behind_max: u64,
    /// Whose CPU time counts as the server's.
    pub processes: Processes,
    /// What is part of the measurement beside it.
    pub beside: Processes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FanoutReport {
    pub transport: Transport,
    pub subscribers: usize,
    pub message_bytes: usize,
    pub pace: Pace,
    /// Length of the measured time.
    pub seconds: f64,
    pub publishes_per_s: f64,
    /// Publishes that were acknowledged in the measured time ÷ those that its schedule held.
    pub offered_ratio: Option<f64>,
    pub deliveries: u64,
    pub deliveries_per_s: f64,
    /// Server CPU seconds, user and system, for a million deliveries.
    pub cpu_s_per_million: f64,
    /// … per publish, in microseconds.
    pub cpu_us_per_publish: f64,
    /// The load generator's own share of one core.
    pub generator_load: f64,
    /// Cores that were busy with neither the server nor the generator.
    pub others_load: f64,
    /// From the moment at which a message was due to its reading by a subscriber.
    pub latency: LatencySummary,
    pub acknowledgement: LatencySummary,
    /// Of the whole run, warm-up and end included.
    pub faults: Faults,
}

/// The least share of its schedule that a paced run must have offered to prove anything.
pub const OFFERED_MIN: f64 = 0.95;

impl FanoutReport {
    /// Why the run proves nothing or shows a broken promise.
    pub fn objection(&self) -> Option<String> {
        if let Some(offered) = self.offered_ratio.filter(|offered| *offered < OFFERED_MIN) {
            return Some(format!(
                "only {:.1} % of the load was offered: the run proves nothing",
                offered * 100.0
            ));
        }
        if !self.faults.is_none() {
            return Some(self.faults.to_string());
        }
        crowded(self.others_load)
    }
}

/// Time for subscriptions to take hold after the last one has its response.
const SETTLE: Duration = Duration::from_millis(500);
/// How long deliveries may stand still at the end before what is missing counts as lost.
const QUIET_US: u64 = 5_000_000;

/// Runs the load in the calling thread; it blocks for its whole length.
pub fn fanout(load: &FanoutLoad) -> anyhow::Result<FanoutReport> {
    if load.message_bytes < message::BYTES_MIN || load.publishers == 0 {
        bail!("a load has at least one publisher and messages of {} bytes", message::BYTES_MIN);
    }
    check_descriptors(load.subscribers + load.publishers)?;
    let mut poll = Poll::new()?;
    let mut crowd = Crowd::connect(&mut poll, &load.target, load.transport, load.subscribers)?;
    // Reading a digit of every message is cheap, counting every latency of millions a second is not.
    crowd.sample_every = if matches!(load.pace, Pace::Saturated { .. }) { 16 } else { 1 };
    crowd.idle(&mut poll, SETTLE)?;
    let publishers = Publishers::connect(
        &poll,
        load.publish_to.as_ref().unwrap_or(&load.target),
        load.pace,
        load.publishers,
        load.message_bytes,
        load.subscribers,
    )?;
    Run { load, poll, crowd, publishers, clock: Ticker::start(), meter: Meter::default(), stamped: 0 }.run()
}

struct Run<'a> {
    load: &'a FanoutLoad,
    poll: Poll,
    crowd: Crowd,
    publishers: Publishers,
    clock: Ticker,
    meter: Meter,
    /// Stamped events that all subscribers together have read.
    stamped: u64,
}

#[derive(Debug, Default)]
struct Meter {
    measuring: bool,
    latencies: Latencies,
    acknowledgements: Latencies,
}

/// Counters at one moment.
struct Mark {
    at_us: u64,
    acknowledged: u64,
    stamped: u64,
    server_cpu_s: f64,
    own_cpu_s: f64,
    beside_cpu_s: f64,
    busy_s: f64,
}

impl Run<'_> {
    fn run(mut self) -> anyhow::Result<FanoutReport> {
        self.publish_for(self.load.warm_up)?;
        let start = self.mark()?;
        self.meter.measuring = true;
        self.publish_for(self.load.measure)?;
        let end = self.mark()?;
        self.meter.measuring = false;
        self.drain()?;
        Ok(self.report(&start, &end))
    }

    fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark {
            at_us: self.clock.now_us(),
            acknowledged: self.publishers.acknowledged,
            stamped: self.stamped,
            server_cpu_s: self.load.processes.cpu_s()?,
            own_cpu_s: Processes::own().cpu_s()?,
            beside_cpu_s: self.load.beside.cpu_s()?,
            busy_s: machine_busy_s()?,
        })
    }

    fn publish_for(&mut self, length: Duration) -> anyhow::Result<()> {
        let until = self.clock.now_us() + length.as_micros() as u64;
        let mut events = Events::with_capacity(256);
        while self.clock.now_us() < until {
            let behind = self.publishers.sent * self.load.subscribers as u64 - self.stamped;
            let held = behind > self.load.behind_max * self.load.subscribers as u64;
            self.publishers.pump(self.clock, held)?;
            let wait = self.publishers.wait(self.clock.now_us());
            self.turn(&mut events, wait)?;
            if self.publishers.refused > 1_000 {
                return Err(self.publishers.failure());
            }
        }
        Ok(())
    }

    /// Waits until everything acknowledged has come everywhere, or nothing moves any more.
    fn drain(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(256);
        let (mut moved_us, mut last) = (self.clock.now_us(), (0, 0));
        let wanted = |run: &Self| run.publishers.acknowledged * run.load.subscribers as u64;
        while self.publishers.unanswered() > 0 || self.stamped < wanted(self) {
            self.turn(&mut events, Duration::from_millis(20))?;
            let now = (self.stamped, self.publishers.unanswered());
            if now != last {
                (moved_us, last) = (self.clock.now_us(), now);
            } else if self.clock.now_us() - moved_us > QUIET_US {
                return Ok(());
            }
        }
        // A double would come right behind.
        self.crowd.idle(&mut self.poll, Duration::from_millis(200))
    }

    fn turn(&mut self, events: &mut Events, wait: Duration) -> anyhow::Result<()> {
        let wait = if self.crowd.has_more() { Duration::ZERO } else { wait };
        await_ready(&mut self.poll, events, Some(wait))?;
        let now_us = self.clock.now_us();
        let first_publisher = self.load.subscribers;
        let Self { publishers, crowd, meter, .. } = self;
        // Acknowledgements first: subscribers' bytes wait in the kernel without harm.
        for event in events.iter().filter(|e| e.token().0 >= first_publisher) {
            publishers.ready(event, now_us, meter.measuring.then_some(&mut meter.acknowledgements))?;
        }
        for event in events.iter().filter(|e| e.token().0 < first_publisher) {
            let latencies = meter.measuring.then_some(&mut meter.latencies);
            self.stamped += crowd.ready(event, self.clock.now_us(), latencies);
        }
        let latencies = meter.measuring.then_some(&mut meter.latencies);
        self.stamped += crowd.reread(self.clock.now_us(), latencies);
        Ok(())
    }

    fn report(&self, start: &Mark, end: &Mark) -> FanoutReport {
        let load = self.load;
        let seconds = (end.at_us - start.at_us) as f64 / 1e6;
        let deliveries = end.stamped - start.stamped;
        let published = end.acknowledged - start.acknowledged;
        let cpu_s = end.server_cpu_s - start.server_cpu_s;
        let own_cpu_s = end.own_cpu_s - start.own_cpu_s;
        let beside_cpu_s = end.beside_cpu_s - start.beside_cpu_s;
        let mut faults = self.crowd.faults(self.publishers.acknowledged);
        faults.refused = self.publishers.refused + self.publishers.unanswered();
        if faults.first.is_none() {
            faults.first = self.publishers.refusal.as_ref().map(ToString::to_string);
        }
        FanoutReport {
            transport: load.transport,
            subscribers: load.subscribers,
            message_bytes: load.message_bytes,
            pace: load.pace,
            seconds,
            publishes_per_s: published as f64 / seconds,
            offered_ratio: match load.pace {
                Pace::Paced { per_second } => Some(published as f64 / (per_second * seconds)),
                Pace::Saturated { .. } => None,
            },
            deliveries,
            deliveries_per_s: deliveries as f64 / seconds,
            cpu_s_per_million: cpu_s * 1e6 / deliveries.max(1) as f64,
            cpu_us_per_publish: cpu_s * 1e6 / published.max(1) as f64,
            generator_load: own_cpu_s / seconds,
            others_load: (end.busy_s - start.busy_s - cpu_s - own_cpu_s - beside_cpu_s).max(0.0) / seconds,
            latency: self.meter.latencies.summary(),
            acknowledgement: self.meter.acknowledgements.summary(),
            faults,
        }
    }
}
