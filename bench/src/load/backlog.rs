//! Webhooks that wait, for receivers that take requests and do not answer.

use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::{
    process::{Processes, crowded},
    publisher::Pace,
    target::Target,
    webhooks::{DeliveryFaults, Hall},
};

/// So many deliveries wait, and then are made.
#[derive(Debug, Clone)]
pub struct BacklogLoad {
    pub target: Target,
    pub endpoints: usize,
    /// Events that every endpoint waits for.
    pub events: u64,
    /// Publishes that are unacknowledged, each on a connection of its own.
    pub in_flight: usize,
    pub message_bytes: usize,
    /// Events that are delivered before, so that the server has what it needs for delivering at all.
    pub warm_up: u64,
    /// How long they wait before memory is read.
    pub hold: Duration,
    pub processes: Processes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BacklogReport {
    pub endpoints: usize,
    /// Deliveries that waited.
    pub waiting: u64,
    pub resident_kib_before: f64,
    pub resident_kib_waiting: f64,
    pub resident_kib_after: f64,
    pub bytes_per_delivery: f64,
    /// How long publishing took.
    pub gather_s: f64,
    /// From the first answer until the last delivery had come.
    pub drain_s: f64,
    pub drained_per_s: f64,
    /// While it was drained, of the server and of what it works on.
    pub cpu_us_per_delivery: f64,
    pub generator_load: f64,
    pub others_load: f64,
    pub faults: DeliveryFaults,
}

impl BacklogReport {
    /// Why the run proves nothing or shows a broken promise.
    pub fn objection(&self) -> Option<String> {
        self.faults.objection().or_else(|| crowded(self.others_load))
    }
}

/// Runs the load in the calling thread; it blocks for its whole length.
pub fn backlog(load: &BacklogLoad) -> anyhow::Result<BacklogReport> {
    if load.events == 0 || load.endpoints == 0 {
        bail!("a backlog has at least one delivery for each endpoint");
    }
    let mut hall = Hall::open(load.endpoints, load.in_flight, load.processes.clone())?;
    hall.make_endpoints(&load.target, false)?;
    let pace = Pace::Saturated { in_flight: load.in_flight };
    hall.publish_with(&load.target, pace, load.in_flight, load.message_bytes)?;
    hall.publish_until(load.warm_up)?;
    hall.drain()?;
    let resident_kib_before = load.processes.resident_kib()?;
    hall.receivers.hang();
    hall.publish_with(&load.target, pace, load.in_flight, load.message_bytes)?;
    let (begun_us, warm, delivered) = (hall.now_us(), hall.acknowledged(), hall.receivers.delivered);
    hall.publish_until(warm + load.events)?;
    hall.settle()?;
    let gather_s = (hall.now_us() - begun_us) as f64 / 1e6;
    hall.serve_for(load.hold)?;
    let resident_kib_waiting = load.processes.resident_kib()?;
    let waiting = (hall.acknowledged() - warm) * load.endpoints as u64;
    if hall.receivers.delivered != delivered {
        bail!("receivers that hang have answered");
    }
    let start = hall.mark()?;
    hall.receivers.answer(hall.now_us());
    hall.drain_at_once()?;
    let end = hall.mark()?;
    hall.serve_for(load.hold)?;
    let drain_s = end.seconds_since(&start);
    Ok(BacklogReport {
        endpoints: load.endpoints,
        waiting,
        resident_kib_before,
        resident_kib_waiting,
        resident_kib_after: load.processes.resident_kib()?,
        bytes_per_delivery: (resident_kib_waiting - resident_kib_before) * 1_024.0 / waiting as f64,
        gather_s,
        drain_s,
        drained_per_s: (end.delivered - start.delivered) as f64 / drain_s,
        cpu_us_per_delivery: end.cpu_us_per_delivery(&start),
        generator_load: end.generator_load(&start),
        others_load: end.others_load(&start),
        faults: hall.faults(false),
    })
}
