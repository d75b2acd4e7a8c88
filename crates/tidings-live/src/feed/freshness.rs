//! How sure a feed is that it knows its head.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{Ended, Feed};

/// Moments are the node's, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// When this feed's own look at the store last showed its head.
    confirmed: AtomicU64,
    /// Where the store knows more than the feed: one more than the moment up to which it knew all.
    behind: AtomicU64,
    /// It has been unconfirmed for too long, and its watchers were told.
    stale: AtomicBool,
}

impl Feed {
    /// For how long its head may have been another one than it knows. Zero where this process alone
    /// writes: then the journal tells of everything.
    pub(crate) fn unconfirmed_for(&self) -> Duration {
        if !self.node.is_shared() {
            return Duration::ZERO;
        }
        Duration::from_millis(self.node.now().saturating_sub(self.as_of()))
    }

    /// The moment up to which it knew all.
    fn as_of(&self) -> u64 {
        let confirmed = self.freshness.confirmed.load(Relaxed).max(self.node.confirmed());
        match self.freshness.behind.load(Relaxed) {
            0 => confirmed,
            behind => confirmed.min(behind - 1),
        }
    }

    /// A gap is known; to be called under the order's lock.
    pub(super) fn falls_behind(&self) {
        let behind = self.as_of() + 1;
        // An older gap counts.
        let _ = self.freshness.behind.compare_exchange(0, behind, Relaxed, Relaxed);
    }

    /// No gap is left; to be called under the order's lock.
    pub(super) fn caught_up(&self) {
        self.freshness.behind.store(0, Relaxed);
    }

    /// The store was asked at `moment`, and the feed knows what it answered.
    pub(super) fn confirm(&self, moment: u64) {
        self.freshness.confirmed.fetch_max(moment, Relaxed);
    }

    /// For how long it has been unconfirmed, where that is too long.
    pub(crate) fn stale_for(&self) -> Option<Duration> {
        self.freshness.stale.load(Relaxed).then(|| self.unconfirmed_for())
    }

    /// Looks at the time: tells the watchers once when it becomes stale, and ends it when that has
    /// lasted too long.
    pub(crate) fn judge(self: &Arc<Self>) {
        let (age, config) = (self.unconfirmed_for(), &self.node.config);
        if age >= config.stale_close {
            self.node.unregister(self);
            self.end(Ended::Unconfirmed);
            return;
        }
        let stale = age >= config.stale;
        let was = self.freshness.stale.swap(stale, Relaxed);
        if stale && !was {
            self.watchers.notify(self.id);
        }
    }
}
