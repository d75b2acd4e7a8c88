//! What is counted.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{
    EndpointId, Timestamp,
    webhook::{AttemptFailure, StateName},
};

/// How this node's deliveries stand. Endpoints that other nodes deliver to are not in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DispatcherStats {
    /// Attempts since the start: `delivered`, and by failure.
    pub attempts: Vec<(&'static str, u64)>,
    /// Events that were given up since the start.
    pub dead: u64,
    /// Attempts under way.
    pub in_flight: usize,
    /// The age of the oldest event that an endpoint has not taken and that is not given up, those that are tried again
    /// included; one that is paused or disabled counts.
    pub oldest_age: Duration,
    /// Deliveries that wait for another try.
    pub retrying: u64,
    pub active: usize,
    /// Of the active ones, those held back by a rate or by what the receiver asked for.
    pub throttled: usize,
    pub paused: usize,
    pub disabled: usize,
}

#[derive(Debug, Default)]
pub(super) struct Stats {
    delivered: AtomicU64,
    failed: [AtomicU64; AttemptFailure::ALL.len()],
    dead: AtomicU64,
    standings: Mutex<HashMap<EndpointId, Arc<Standing>, RandomState>>,
}

/// How one endpoint stands.
#[derive(Debug)]
pub(super) struct Standing {
    state: Mutex<StateName>,
    /// In microseconds; 0: nothing waits.
    oldest: AtomicI64,
    /// Of what is retried, also in microseconds.
    oldest_retried: AtomicI64,
    throttled: AtomicBool,
    /// As far as this node knows; another that reported late may make it wrong by a few.
    retrying: AtomicI64,
}

impl Stats {
    pub(super) fn attempted(&self, failure: Option<AttemptFailure>) {
        let counter = failure.map_or(&self.delivered, |failure| &self.failed[failure.code() as usize]);
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn died(&self) {
        self.dead.fetch_add(1, Relaxed);
    }

    /// Counts an endpoint until [`forget`](Self::forget).
    pub(super) fn stand(&self, endpoint: EndpointId, state: StateName) -> Arc<Standing> {
        let standing = Arc::new(Standing {
            state: Mutex::new(state),
            oldest: AtomicI64::new(0),
            oldest_retried: AtomicI64::new(0),
            throttled: AtomicBool::new(false),
            retrying: AtomicI64::new(0),
        });
        self.standings.lock().insert(endpoint, Arc::clone(&standing));
        standing
    }

    /// Unless somebody else has come to deliver to it meanwhile.
    pub(super) fn forget(&self, endpoint: EndpointId, standing: &Arc<Standing>) {
        let mut standings = self.standings.lock();
        if standings.get(&endpoint).is_some_and(|known| Arc::ptr_eq(known, standing)) {
            standings.remove(&endpoint);
        }
    }

    pub(super) fn read(&self, now: Timestamp, in_flight: usize) -> DispatcherStats {
        let failed = AttemptFailure::ALL.iter().zip(&self.failed);
        let failed = failed.map(|(failure, counter)| (failure.as_str(), counter.load(Relaxed)));
        let mut stats = DispatcherStats {
            attempts: [("delivered", self.delivered.load(Relaxed))].into_iter().chain(failed).collect(),
            dead: self.dead.load(Relaxed),
            in_flight,
            ..DispatcherStats::default()
        };
        for standing in self.standings.lock().values() {
            standing.add_to(&mut stats, now);
        }
        stats
    }
}

impl Standing {
    pub(super) fn set_state(&self, state: StateName) {
        *self.state.lock() = state;
    }

    /// The time of the oldest event that waits.
    pub(super) fn set_oldest(&self, oldest: Option<Timestamp>) {
        self.oldest.store(oldest.map_or(0, Timestamp::as_micros), Relaxed);
    }

    /// The time of the oldest event that is retried.
    pub(super) fn set_oldest_retried(&self, oldest: Option<Timestamp>) {
        self.oldest_retried.store(oldest.map_or(0, Timestamp::as_micros), Relaxed);
    }

    pub(super) fn is_retrying(&self) -> bool {
        self.retrying.load(Relaxed) > 0
    }

    pub(super) fn set_throttled(&self, throttled: bool) {
        self.throttled.store(throttled, Relaxed);
    }

    pub(super) fn set_retrying(&self, rows: u64) {
        self.retrying.store(rows as i64, Relaxed);
    }

    /// `time` is that of the event, where it is known.
    pub(super) fn retry_begun(&self, time: Option<Timestamp>) {
        let first = self.retrying.fetch_add(1, Relaxed) <= 0;
        let known = Some(self.oldest_retried.load(Relaxed)).filter(|micros| !first && *micros > 0);
        let oldest = known.into_iter().chain(time.map(Timestamp::as_micros)).min();
        self.oldest_retried.store(oldest.unwrap_or(0), Relaxed);
    }

    pub(super) fn retry_done(&self) {
        self.retrying.fetch_sub(1, Relaxed);
    }

    fn add_to(&self, stats: &mut DispatcherStats, now: Timestamp) {
        let retried = if self.is_retrying() { self.oldest_retried.load(Relaxed) } else { 0 };
        let oldest = [self.oldest.load(Relaxed), retried].into_iter().filter(|micros| *micros > 0).min();
        let age = oldest.map(|micros| now.since(Timestamp::from_micros(micros)));
        stats.oldest_age = stats.oldest_age.max(age.unwrap_or_default());
        stats.retrying += self.retrying.load(Relaxed).max(0) as u64;
        match *self.state.lock() {
            StateName::Active => {
                stats.active += 1;
                stats.throttled += usize::from(self.throttled.load(Relaxed));
            }
            StateName::Paused => stats.paused += 1,
            StateName::Disabled => stats.disabled += 1,
        }
    }
}
