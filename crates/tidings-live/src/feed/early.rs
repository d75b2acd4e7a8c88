//! Events that came before those that go in front of them.

use std::{collections::BTreeMap, sync::Arc};

use tidings_core::Seq;

use crate::Slot;

/// What lies ahead of a feed's next event, so that neighbours that changed places on their way cost no
/// read of the store. Bounded: the furthest ahead go first, and are read when their turn has come.
#[derive(Debug)]
pub(crate) struct Early {
    slots: BTreeMap<Seq, Arc<Slot>>,
    bytes: usize,
    events_max: usize,
    bytes_max: usize,
}

impl Early {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { slots: BTreeMap::new(), bytes: 0, events_max, bytes_max }
    }

    /// The first that came under a seq stays. What has to make room goes to `gone`, to be dropped once
    /// no lock is held.
    pub(crate) fn keep(&mut self, slot: Arc<Slot>, gone: &mut Vec<Arc<Slot>>) {
        let (seq, cost) = (slot.seq(), Slot::cost(slot.event()));
        if self.slots.contains_key(&seq) {
            return gone.push(slot);
        }
        self.bytes += cost;
        self.slots.insert(seq, slot);
        while self.slots.len() > self.events_max || self.bytes > self.bytes_max {
            let Some((_, slot)) = self.slots.pop_last() else { return };
            self.forget(slot, gone);
        }
    }

    /// The event `next`, if it is here. Those before it are of no use any more.
    pub(crate) fn take(&mut self, next: Seq, gone: &mut Vec<Arc<Slot>>) -> Option<Arc<Slot>> {
        while let Some(first) = self.slots.first_entry()
            && *first.key() < next
        {
            let slot = first.remove();
            self.forget(slot, gone);
        }
        let first = self.slots.first_entry().filter(|first| *first.key() == next)?;
        let slot = first.remove();
        self.bytes -= Slot::cost(slot.event());
        Some(slot)
    }

    pub(crate) fn clear(&mut self, gone: &mut Vec<Arc<Slot>>) {
        self.bytes = 0;
        gone.extend(std::mem::take(&mut self.slots).into_values());
    }

    fn forget(&mut self, slot: Arc<Slot>, gone: &mut Vec<Arc<Slot>>) {
        self.bytes -= Slot::cost(slot.event());
        gone.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{event_of_size, slot};

    fn keep(early: &mut Early, seqs: &[u64]) {
        for seq in seqs {
            early.keep(slot(event_of_size(*seq, 500)), &mut Vec::new());
        }
    }

    fn take(early: &mut Early, next: u64) -> Option<u64> {
        early.take(Seq::new(next), &mut Vec::new()).map(|slot| slot.seq().get())
    }

    #[test]
    fn it_gives_back_what_is_next_and_forgets_what_is_past() {
        let mut early = Early::new(10, 1 << 20);
        keep(&mut early, &[9, 4, 5, 5, 7]);
        assert_eq!((take(&mut early, 3), take(&mut early, 4), take(&mut early, 4)), (None, Some(4), None));
        assert_eq!((take(&mut early, 7), take(&mut early, 8), take(&mut early, 9)), (Some(7), None, Some(9)));
        assert_eq!((early.slots.len(), early.bytes), (0, 0));
    }

    #[test]
    fn the_furthest_ahead_make_room() {
        let mut early = Early::new(3, 1 << 20);
        keep(&mut early, &[9, 8, 7, 6, 10]);
        assert_eq!(early.slots.keys().map(|seq| seq.get()).collect::<Vec<_>>(), [6, 7, 8]);
        let cost = Slot::cost(&event_of_size(1, 500));
        let mut early = Early::new(100, 2 * cost);
        keep(&mut early, &[5, 4, 3]);
        assert_eq!(early.slots.keys().map(|seq| seq.get()).collect::<Vec<_>>(), [3, 4]);
    }
}
