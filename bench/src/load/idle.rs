use std::time::Duration;

use mio::Poll;
use serde::{Deserialize, Serialize};

use super::{
    crowd::{Crowd, check_descriptors},
    process::{Processes, machine_busy_s},
    target::{Target, Transport},
};

/// Many connections that nothing is sent to but heartbeats.
#[derive(Debug, Clone)]
pub struct IdleLoad {
    pub target: Target,
    pub transport: Transport,
    pub connections: usize,
    /// How long they are kept before memory is read: longer than a heartbeat's interval.
    pub hold: Duration,
    pub processes: Processes,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdleReport {
    pub transport: Transport,
    pub connections: usize,
    /// The server's resident memory for each connection, in KiB.
    pub kib_per_connection: f64,
    pub resident_kib_before: f64,
    pub resident_kib_after: f64,
    /// Server CPU for accepting, upgrading and opening, in microseconds each.
    pub cpu_us_per_handshake: f64,
    /// Server CPU while all were idle, in percent of one core.
    pub idle_cpu_percent: f64,
    /// Cores that were busy with neither the server nor the generator while all were idle.
    pub others_load: f64,
    /// Connections that ended while they were held.
    pub ended: u64,
    pub first_end: Option<String>,
}

impl IdleReport {
    pub fn objection(&self) -> Option<String> {
        (self.ended > 0).then(|| {
            let why = self.first_end.as_deref().unwrap_or_default();
            format!("{} of {} connections ended: {why}", self.ended, self.connections)
        })
    }
}

/// Connections that are opened and closed first, so that what a server allocates once is not counted.
const WARM_UP: usize = 200;

/// Runs the load in the calling thread; it blocks for its whole length.
pub fn idle(load: &IdleLoad) -> anyhow::Result<IdleReport> {
    check_descriptors(load.connections)?;
    let mut poll = Poll::new()?;
    {
        let mut warm_up = Crowd::connect(&mut poll, &load.target, load.transport, WARM_UP)?;
        warm_up.idle(&mut poll, Duration::from_millis(500))?;
    }
    Crowd::connect(&mut poll, &load.target, load.transport, 0)?.idle(&mut poll, Duration::from_secs(1))?;
    let before = load.processes.resident_kib()?;
    let cpu_before = load.processes.cpu_s()?;
    let mut crowd = Crowd::connect(&mut poll, &load.target, load.transport, load.connections)?;
    let cpu_connected = load.processes.cpu_s()?;
    let foreign_s = || anyhow::Ok(machine_busy_s()? - load.processes.cpu_s()? - Processes::own().cpu_s()?);
    let foreign_before = foreign_s()?;
    crowd.idle(&mut poll, load.hold)?;
    let foreign = (foreign_s()? - foreign_before).max(0.0);
    let idle_cpu_s = load.processes.cpu_s()? - cpu_connected;
    let after = load.processes.resident_kib()?;
    let faults = crowd.faults(0);
    let count = load.connections as f64;
    Ok(IdleReport {
        transport: load.transport,
        connections: load.connections,
        kib_per_connection: (after - before) / count,
        resident_kib_before: before,
        resident_kib_after: after,
        cpu_us_per_handshake: (cpu_connected - cpu_before) * 1e6 / count,
        idle_cpu_percent: idle_cpu_s / load.hold.as_secs_f64() * 100.0,
        others_load: foreign / load.hold.as_secs_f64(),
        ended: faults.ended,
        first_end: faults.first,
    })
}
