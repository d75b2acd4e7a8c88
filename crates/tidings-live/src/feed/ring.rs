//! A feed's newest events, consecutive up to its tail.

use std::{collections::VecDeque, sync::Arc};

use tidings_core::Seq;

use crate::Slot;

/// Holds `tail − len + 1 ..= tail`. Whoever needs an earlier event reads the log.
#[derive(Debug)]
pub(crate) struct Ring {
    slots: VecDeque<Entry>,
    tail: Seq,
    /// The sum of the entries' costs.
    bytes: usize,
    events_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    slot: Arc<Slot>,
    cost: usize,
    /// When it was appended, in the node's own count: the oldest go first when memory is short.
    stamp: u64,
}

impl Ring {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { slots: VecDeque::new(), tail: Seq::ZERO, bytes: 0, events_max: events_max.max(1), bytes_max }
    }

    /// Empties it; the next event is `tail + 1`.
    pub(crate) fn restart(&mut self, tail: Seq) -> Vec<Arc<Slot>> {
        self.tail = tail;
        self.bytes = 0;
        std::mem::take(&mut self.slots).into_iter().map(|e| e.slot).collect()
    }

    pub(crate) fn tail(&self) -> Seq {
        self.tail
    }

    /// The seq of the oldest event held; `tail + 1` where none is.
    pub(crate) fn first(&self) -> Seq {
        Seq::new(self.tail.get() - self.slots.len() as u64 + 1)
    }

    /// Appends the event after the tail. What has to make room goes to `gone`, to be dropped once
    /// no lock is held.
    pub(crate) fn push(&mut self, slot: Arc<Slot>, stamp: u64, gone: &mut Vec<Arc<Slot>>) {
        debug_assert_eq!(slot.seq(), self.tail.next());
        let cost = Slot::cost(slot.event());
        self.tail = slot.seq();
        self.bytes += cost;
        self.slots.push_back(Entry { slot, cost, stamp });
        while self.slots.len() > self.events_max || (self.bytes > self.bytes_max && self.slots.len() > 1) {
            gone.extend(self.pop());
        }
    }

    /// Gives up the oldest event.
    pub(crate) fn pop(&mut self) -> Option<Arc<Slot>> {
        let entry = self.slots.pop_front()?;
        self.bytes -= entry.cost;
        Some(entry.slot)
    }

    /// When the oldest event was appended.
    pub(crate) fn oldest_stamp(&self) -> Option<u64> {
        self.slots.front().map(|e| e.stamp)
    }

    pub(crate) fn get(&self, seq: Seq) -> Option<&Arc<Slot>> {
        let at = seq.get().checked_sub(self.first().get())?;
        self.slots.get(at as usize).map(|e| &e.slot)
    }

    /// Puts the events after `cursor` into `out`: at most `events_max`, and no more after `bytes_max`
    /// bytes of events. `false` where the ring does not reach back that far.
    pub(crate) fn read(
        &self,
        cursor: Seq,
        events_max: usize,
        bytes_max: usize,
        out: &mut Vec<Arc<Slot>>,
    ) -> bool {
        let Some(skip) = cursor.next().get().checked_sub(self.first().get()) else { return false };
        let mut bytes = 0;
        for entry in self.slots.iter().skip(skip as usize).take(events_max) {
            out.push(entry.slot.clone());
            bytes += entry.cost;
            if bytes >= bytes_max {
                break;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{event_of_size, slot};

    fn seqs(slots: &[Arc<Slot>]) -> Vec<u64> {
        slots.iter().map(|s| s.seq().get()).collect()
    }

    fn push(ring: &mut Ring, seq: u64, size: usize) {
        let mut gone = Vec::new();
        ring.push(slot(event_of_size(seq, size)), seq, &mut gone);
    }

    #[test]
    fn it_holds_the_newest_up_to_its_bounds() {
        let mut ring = Ring::new(3, 1 << 20);
        assert_eq!((ring.first().get(), ring.tail().get()), (1, 0));
        (1..=5).for_each(|n| push(&mut ring, n, 200));
        assert_eq!((ring.first().get(), ring.tail().get()), (3, 5));
        let mut out = Vec::new();
        assert!(!ring.read(Seq::new(1), 10, usize::MAX, &mut out), "2 is gone");
        assert!(ring.read(Seq::new(2), 10, usize::MAX, &mut out));
        assert_eq!(seqs(&out), [3, 4, 5]);
        out.clear();
        assert!(ring.read(Seq::new(5), 10, usize::MAX, &mut out) && out.is_empty());
    }

    #[test]
    fn one_event_larger_than_the_bound_stays_alone() {
        let mut ring = Ring::new(10, 4_000);
        push(&mut ring, 1, 300);
        push(&mut ring, 2, 9_000);
        assert_eq!((ring.first().get(), ring.tail().get()), (2, 2));
        push(&mut ring, 3, 300);
        assert_eq!((ring.first().get(), ring.tail().get()), (3, 3));
    }

    #[test]
    fn reading_stops_at_its_bounds() {
        let mut ring = Ring::new(10, 1 << 20);
        (1..=6).for_each(|n| push(&mut ring, n, 1_000));
        let read = |events, bytes| {
            let mut out = Vec::new();
            assert!(ring.read(Seq::new(1), events, bytes, &mut out));
            seqs(&out)
        };
        assert_eq!(read(2, usize::MAX), [2, 3]);
        assert_eq!(read(10, 1), [2], "at least one");
    }
}
