use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::SlowClients;

/// How far a live subscription may fall behind, and what then. It may change under those that read it;
/// one that reads it in between goes by either.
#[derive(Debug)]
pub(crate) struct LagLimit {
    /// `u64::MAX`: any number.
    events: AtomicU64,
    catch_up: AtomicBool,
}

impl LagLimit {
    pub(crate) fn new(events: Option<u64>, slow_clients: SlowClients) -> Self {
        let limit = Self { events: AtomicU64::new(0), catch_up: AtomicBool::new(false) };
        limit.set(events, slow_clients);
        limit
    }

    pub(crate) fn set(&self, events: Option<u64>, slow_clients: SlowClients) {
        self.events.store(events.unwrap_or(u64::MAX), Relaxed);
        self.catch_up.store(slow_clients == SlowClients::CatchUp, Relaxed);
    }

    pub(crate) fn is_passed(&self, lag: u64) -> bool {
        lag > self.events.load(Relaxed)
    }

    pub(crate) fn slow_clients(&self) -> SlowClients {
        if self.catch_up.load(Relaxed) { SlowClients::CatchUp } else { SlowClients::Disconnect }
    }
}
