use tidings_core::{Cursor, Epoch, Seq};

use super::Subscription;

/// The cursor did not fit this log: the stream goes on from the oldest event that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    pub reason: ResetReason,
    pub epoch: Epoch,
    /// What comes next is this one or later.
    pub oldest: Seq,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// The cursor belongs to another history of the tenant.
    Epoch,
    /// The cursor is ahead of the newest event.
    Ahead,
    /// Events after the cursor are no longer kept.
    Expired,
}

impl ResetReason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Ahead => "ahead",
            Self::Expired => "expired",
        }
    }
}

impl Subscription {
    /// Puts the cursor where the subscriber is. A cursor ahead of the feed is not judged here: the
    /// store may have committed what the feed is still to hear of.
    pub(super) fn start_after(&mut self, cursor: &Cursor) -> Option<Reset> {
        let oldest = self.feed.oldest();
        if cursor.epoch.as_ref().is_some_and(|epoch| epoch != self.feed.epoch()) {
            return Some(self.start_over(ResetReason::Epoch, oldest));
        }
        if cursor.epoch.is_none() && cursor.seq == Seq::ZERO {
            self.from_oldest = true;
            self.cursor = oldest.prev();
            return None;
        }
        if cursor.seq < oldest.prev() {
            return Some(self.start_over(ResetReason::Expired, oldest));
        }
        self.cursor = cursor.seq;
        None
    }

    pub(super) fn start_over(&mut self, reason: ResetReason, oldest: Seq) -> Reset {
        self.cursor = oldest.prev();
        self.from_oldest = false;
        self.page = None;
        self.page_start = Seq::ZERO;
        self.ahead_is_known = false;
        self.lag.fell_back();
        Reset { reason, epoch: self.feed.epoch().clone(), oldest }
    }
}
