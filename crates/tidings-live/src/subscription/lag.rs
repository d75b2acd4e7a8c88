//! How far behind a subscription is, and whose fault it is.

use std::sync::atomic::Ordering::Relaxed;

use tidings_core::{Cursor, Seq};

use super::Subscription;
use crate::SlowClients;

/// Lag is the cursor's distance from the head. It counts only once the subscription is live, and
/// against the limit only as far as it came about while the socket took nothing: a burst that no
/// socket could take at once, or a server that is late itself, cuts nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lag {
    CatchingUp,
    Live {
        /// Events appended while the socket took nothing, since the subscription last was idle.
        owed: u64,
        /// The head when the socket last refused; `None` once it was tried again.
        refused_at: Option<Seq>,
    },
}

impl Lag {
    pub(super) const fn live() -> Self {
        Self::Live { owed: 0, refused_at: None }
    }

    pub(super) const fn catching_up() -> Self {
        Self::CatchingUp
    }

    /// Nothing is left to hand out.
    pub(super) fn caught_up(&mut self) {
        *self = Self::live();
    }

    /// The ring covers the cursor.
    pub(super) fn joined(&mut self) {
        if *self == Self::CatchingUp {
            *self = Self::live();
        }
    }

    pub(super) fn fell_back(&mut self) {
        *self = Self::CatchingUp;
    }

    pub(super) fn refused(&mut self, head: Seq) {
        if let Self::Live { refused_at, .. } = self {
            refused_at.get_or_insert(head);
        }
    }

    /// The socket is tried again.
    fn settle(&mut self, head: Seq, distance: u64) {
        if let Self::Live { owed, refused_at } = self {
            let waited = refused_at.take().map_or(0, |at| head.distance_from(at));
            *owed = owed.saturating_add(waited).min(distance);
        }
    }

    /// What counts against the limit.
    fn counted(&self, head: Seq, distance: u64) -> u64 {
        match self {
            Self::CatchingUp => 0,
            Self::Live { owed, refused_at } => {
                let waiting = refused_at.map_or(0, |at| head.distance_from(at));
                owed.saturating_add(waiting).min(distance)
            }
        }
    }
}

impl Subscription {
    /// Whether it has reached the ring, so that lag counts. It stays live however far it falls behind,
    /// except under [`SlowClients::CatchUp`].
    pub fn is_live(&self) -> bool {
        self.lag != Lag::CatchingUp
    }

    /// How many events it is behind; 0 while it is catching up.
    pub fn lag(&self) -> u64 {
        if self.is_live() { self.feed.head().distance_from(self.cursor) } else { 0 }
    }

    /// Whether it is past the limit now, without trying the socket: for a connection that waits for
    /// its socket while the feed goes on. Always `None` under [`SlowClients::CatchUp`].
    pub fn lagged(&self) -> Option<Cursor> {
        let limit = &self.feed.feed().node.lag_limit;
        let (head, distance) = (self.feed.head(), self.lag());
        self.report(distance);
        let past = limit.is_passed(self.lag.counted(head, distance));
        (past && limit.slow_clients() == SlowClients::Disconnect).then(|| self.cursor())
    }

    /// The same at the moment when the socket is tried again.
    pub(super) fn judge_lag(&mut self, head: Seq) -> Option<Cursor> {
        let distance = if self.is_live() { head.distance_from(self.cursor) } else { return None };
        self.report(distance);
        self.lag.settle(head, distance);
        let limit = &self.feed.feed().node.lag_limit;
        if !limit.is_passed(self.lag.counted(head, distance)) {
            return None;
        }
        match limit.slow_clients() {
            SlowClients::Disconnect => Some(self.cursor()),
            SlowClients::CatchUp => {
                self.lag.fell_back();
                None
            }
        }
    }

    /// For the metrics, which need not know of the small distances that come and go.
    fn report(&self, distance: u64) {
        const WORTH_TELLING: u64 = 16;
        let largest = &self.feed.feed().node.largest_lag;
        if distance >= WORTH_TELLING && distance > largest.load(Relaxed) {
            largest.fetch_max(distance, Relaxed);
        }
    }
}
