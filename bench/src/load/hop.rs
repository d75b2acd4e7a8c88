use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use mio::{Events, Poll};
use serde::Serialize;

use super::{
    await_ready,
    clock::Ticker,
    crowd::Crowd,
    fanout::OFFERED_MIN,
    http::Refusal,
    latency::{Latencies, LatencySummary},
    process::{Processes, crowded, machine_busy_s},
    publisher::{Pace, Publishers},
    tally::Faults,
    target::{Target, Transport},
};

/// Events that are published at one node of a cluster and received there and at another one.
#[derive(Debug, Clone)]
pub struct HopLoad {
    /// Where is published, and one subscriber listens.
    pub here: Target,
    /// Where the other one does.
    pub there: Target,
    pub per_second: f64,
    pub message_bytes: usize,
    pub warm_up: Duration,
    pub measure: Duration,
    /// Everything that is part of the measurement.
    pub processes: Processes,
}

#[derive(Debug, Clone, Serialize)]
pub struct HopReport {
    pub seconds: f64,
    pub offered_ratio: f64,
    /// From the moment at which a message was due to its reading.
    pub here: LatencySummary,
    pub there: LatencySummary,
    /// How much later than here each event came there; not at all where it came first.
    pub added: LatencySummary,
    pub others_load: f64,
    pub faults: Faults,
}

impl HopReport {
    pub fn objection(&self) -> Option<String> {
        if self.offered_ratio < OFFERED_MIN {
            let offered = self.offered_ratio * 100.0;
            return Some(format!("only {offered:.1} % of the load was offered: the run proves nothing"));
        }
        if !self.faults.is_none() {
            return Some(self.faults.to_string());
        }
        crowded(self.others_load)
    }
}

/// How long events may be on their way at the end.
const DRAIN: Duration = Duration::from_secs(5);

/// What the listeners are told.
#[derive(Debug, Default)]
struct Signals {
    measuring: AtomicBool,
    ended: AtomicBool,
    /// How many events each has read.
    read: [AtomicU64; 2],
}

/// What a listener heard: when each event came, in their order.
struct Heard {
    at_us: Vec<u64>,
    latencies: Latencies,
    crowd: Crowd,
}

/// Runs the load; it blocks for its whole length.
pub fn hop(load: &HopLoad) -> anyhow::Result<HopReport> {
    let (clock, signals, ready) = (Ticker::start(), Signals::default(), Barrier::new(3));
    std::thread::scope(|scope| {
        let listeners = [&load.here, &load.there].into_iter().zip(&signals.read).map(|(target, read)| {
            let (signals, ready) = (&signals, &ready);
            scope.spawn(move || listen(target, clock, signals, read, ready))
        });
        let listeners: Vec<_> = listeners.collect();
        ready.wait();
        let published = publish(load, clock, &signals);
        signals.ended.store(true, Ordering::Release);
        let mut heard = Vec::new();
        for listener in listeners {
            heard.push(listener.join().map_err(|_| anyhow::anyhow!("a listener panicked"))??);
        }
        Ok(published?.report(&heard))
    })
}

/// One subscriber, in a thread of its own.
fn listen(
    target: &Target,
    clock: Ticker,
    signals: &Signals,
    read: &AtomicU64,
    ready: &Barrier,
) -> anyhow::Result<Heard> {
    let connected = Poll::new().context("polling").and_then(|mut poll| {
        let crowd = Crowd::connect(&mut poll, target, Transport::WebSocket, 1)?;
        Ok((poll, crowd))
    });
    // Also after a failure, since the others wait.
    ready.wait();
    let (mut poll, crowd) = connected?;
    let mut heard = Heard { at_us: Vec::new(), latencies: Latencies::new(), crowd };
    let mut events = Events::with_capacity(16);
    while !signals.ended.load(Ordering::Acquire) {
        let wait = if heard.crowd.has_more() { Duration::ZERO } else { Duration::from_millis(20) };
        await_ready(&mut poll, &mut events, Some(wait))?;
        let now_us = clock.now_us();
        let Heard { at_us, latencies, crowd } = &mut heard;
        let measuring = signals.measuring.load(Ordering::Relaxed);
        let mut came = 0;
        for event in &events {
            came += crowd.ready(event, now_us, measuring.then_some(&mut *latencies));
        }
        came += crowd.reread(now_us, measuring.then_some(&mut *latencies));
        at_us.extend(std::iter::repeat_n(now_us, came as usize));
        read.fetch_add(came, Ordering::Release);
    }
    Ok(heard)
}

/// What was published, and which part of it counts.
struct Published {
    seconds: f64,
    offered_ratio: f64,
    acknowledged: u64,
    refused: u64,
    refusal: Option<Refusal>,
    measured: std::ops::Range<usize>,
    others_load: f64,
}

fn publish(load: &HopLoad, clock: Ticker, signals: &Signals) -> anyhow::Result<Published> {
    let mut poll = Poll::new()?;
    let pace = Pace::Paced { per_second: load.per_second };
    let mut publishers = Publishers::connect(&poll, &load.here, pace, 4, load.message_bytes, 0)?;
    let mut run = |publishers: &mut Publishers, until: &dyn Fn(&Publishers) -> bool, pump: bool| {
        let mut events = Events::with_capacity(64);
        while !until(publishers) {
            if pump {
                publishers.pump(clock, false)?;
            }
            await_ready(
                &mut poll,
                &mut events,
                Some(publishers.wait(clock.now_us()).min(Duration::from_millis(20))),
            )?;
            for event in &events {
                publishers.ready(event, clock.now_us(), None)?;
            }
            if publishers.refused > 1_000 {
                return Err(publishers.failure());
            }
        }
        anyhow::Ok(())
    };
    let after = |length: Duration| clock.now_us() + length.as_micros() as u64;
    let own_s = || anyhow::Ok(load.processes.cpu_s()? + Processes::own().cpu_s()?);
    let until = after(load.warm_up);
    run(&mut publishers, &|_| clock.now_us() >= until, true)?;
    signals.measuring.store(true, Ordering::Relaxed);
    let start = (clock.now_us(), publishers.acknowledged, publishers.sent, own_s()?, machine_busy_s()?);
    let until = after(load.measure);
    run(&mut publishers, &|_| clock.now_us() >= until, true)?;
    let end = (clock.now_us(), publishers.acknowledged, publishers.sent, own_s()?, machine_busy_s()?);
    signals.measuring.store(false, Ordering::Relaxed);
    let until = after(DRAIN);
    let all_read = |publishers: &Publishers| {
        publishers.unanswered() == 0
            && signals.read.iter().all(|read| read.load(Ordering::Acquire) >= publishers.acknowledged)
    };
    run(&mut publishers, &|publishers| all_read(publishers) || clock.now_us() >= until, false)?;
    let seconds = (end.0 - start.0) as f64 / 1e6;
    Ok(Published {
        seconds,
        offered_ratio: (end.1 - start.1) as f64 / (load.per_second * seconds),
        acknowledged: publishers.acknowledged,
        refused: publishers.refused + publishers.unanswered(),
        refusal: publishers.refusal,
        measured: start.2 as usize..end.2 as usize,
        others_load: ((end.4 - start.4) - (end.3 - start.3)).max(0.0) / seconds,
    })
}

impl Published {
    fn report(self, heard: &[Heard]) -> HopReport {
        let mut added = Latencies::new();
        for at in self.measured.clone() {
            if let (Some(here), Some(there)) = (heard[0].at_us.get(at), heard[1].at_us.get(at)) {
                added.record(there.saturating_sub(*here), 1);
            }
        }
        let subscribers = || heard.iter().flat_map(|heard| &heard.crowd.subscribers);
        let mut faults = Faults {
            ended: subscribers().filter(|subscriber| subscriber.ended().is_some()).count() as u64,
            refused: self.refused,
            first: self.refusal.map(|refusal| refusal.to_string()),
            ..Faults::default()
        };
        faults.add(subscribers().map(|subscriber| &subscriber.tally), self.acknowledged);
        HopReport {
            seconds: self.seconds,
            offered_ratio: self.offered_ratio,
            here: heard[0].latencies.summary(),
            there: heard[1].latencies.summary(),
            added: added.summary(),
            others_load: self.others_load,
            faults,
        }
    }
}
