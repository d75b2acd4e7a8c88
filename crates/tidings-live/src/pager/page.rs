use std::sync::Arc;

use tidings_core::Seq;
use tidings_store::{EventPage, LogState, ReadError};

use crate::{FeedId, Slot, feed::Feed, gauge::Gauge};

/// Consecutive events of one log, unfiltered, and where the log stood when they were read.
#[derive(Debug)]
pub struct Page {
    feed: FeedId,
    /// The seq before the first event: later than was asked for where retention has passed that.
    from: Seq,
    /// Everything up to here is in this page or before it.
    through: Seq,
    log: LogState,
    slots: Vec<Slot>,
}

impl Page {
    /// A page with a hole is refused: what would be missing would be missed in silence.
    pub(crate) fn new(
        feed: &Arc<Feed>,
        start: Seq,
        page: EventPage,
        gauge: &Arc<Gauge>,
    ) -> Result<Self, ReadError> {
        let from = start.max(page.log.oldest.prev());
        let through = from.max(page.scanned_to);
        if !(from.get() + 1..=through.get()).eq(page.events.iter().map(|event| event.seq.get())) {
            return Err(ReadError::Corrupt(format!("events are missing between {from} and {through}")));
        }
        let slot = |event| Slot::new(page.log.epoch.clone(), Arc::new(event), gauge.clone());
        let slots = page.events.into_iter().map(slot).collect();
        Ok(Self { feed: feed.id, from, through, slots, log: page.log })
    }

    /// Tells only where the log stands.
    pub(crate) fn empty(feed: FeedId, cursor: Seq, log: LogState) -> Self {
        let from = cursor.max(log.oldest.prev());
        Self { feed, from, through: from, log, slots: Vec::new() }
    }

    pub(crate) fn feed(&self) -> FeedId {
        self.feed
    }

    pub(crate) fn from(&self) -> Seq {
        self.from
    }

    pub(crate) fn through(&self) -> Seq {
        self.through
    }

    pub(crate) fn log(&self) -> &LogState {
        &self.log
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes that it takes now, frames counted.
    pub(crate) fn held(&self) -> usize {
        self.slots.iter().map(Slot::held).sum()
    }

    /// Whether it holds the event after `cursor`.
    pub(crate) fn covers(&self, cursor: Seq) -> bool {
        self.from <= cursor && cursor < self.through
    }

    /// The events after `cursor`, which it covers.
    pub(crate) fn after(&self, cursor: Seq) -> &[Slot] {
        let start = self.slots.partition_point(|slot| slot.seq() <= cursor);
        &self.slots[start..]
    }
}
