//! Deliveries that are tried again: rows of the store, a few of which are here when they are due.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use foldhash::fast::RandomState;
use tidings_core::{
    Seq, Timestamp,
    webhook::{Delivery, DeliveryState},
};

/// Until the store is looked at again where that has brought nothing to do.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Retries {
    ready: VecDeque<Delivery>,
    /// When the store is to be looked at again; `None`: it has nothing.
    next_at: Option<Timestamp>,
    /// The store is being looked at.
    loading: bool,
    /// Whose row the store will hear of: what it says of them meanwhile is old.
    busy: HashSet<Seq, RandomState>,
}

impl Retries {
    /// Rows that one look takes.
    pub(super) const LOOK: usize = 32;

    pub(super) fn new(now: Timestamp) -> Self {
        Self { ready: VecDeque::new(), next_at: Some(now), loading: false, busy: HashSet::default() }
    }

    /// Whether the store is to be looked at now; then [`loaded`](Self::loaded) or [`failed`](Self::failed) is to follow.
    pub(super) fn look(&mut self, now: Timestamp) -> bool {
        let look = !self.loading && self.ready.is_empty() && self.next_at.is_some_and(|at| at <= now);
        self.loading |= look;
        look
    }

    /// When the store is to be looked at.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        if self.loading || !self.ready.is_empty() { None } else { self.next_at }
    }

    /// Takes a look's answer, the earliest due first.
    pub(super) fn loaded(&mut self, rows: Vec<Delivery>, now: Timestamp) {
        self.loading = false;
        let full = rows.len() >= Self::LOOK;
        self.next_at = None;
        let mut skipped = false;
        // They are sorted: behind one that is due later is none that is due now.
        let mut behind = false;
        for row in rows {
            let DeliveryState::Retrying { next_at, .. } = row.state else { continue };
            let busy = self.busy.contains(&row.seq);
            behind = busy || next_at <= now;
            if busy {
                skipped |= next_at <= now;
            } else if next_at <= now {
                self.ready.push_back(row);
            } else {
                self.due(next_at);
            }
        }
        if (full && behind) || skipped {
            // Behind those that are taken, or about to go, there may be others.
            self.due(if self.ready.is_empty() { now + PAUSE } else { now });
        }
    }

    pub(super) fn failed(&mut self, now: Timestamp) {
        self.loading = false;
        self.next_at = Some(now + PAUSE);
    }

    /// The store has, or may have, a row that is due then.
    pub(super) fn due(&mut self, at: Timestamp) {
        self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        let row = self.ready.pop_front()?;
        self.busy.insert(row.seq);
        Some(row)
    }

    /// Takes the row of the event that an ordered endpoint stands before, due or not.
    pub(super) fn hold(&mut self, seq: Seq) {
        self.busy.insert(seq);
        self.ready.retain(|row| row.seq != seq);
    }

    /// The store has heard of the row.
    pub(super) fn reported(&mut self, seq: Seq) {
        self.busy.remove(&seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{EventId, EventType, webhook::Format};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn row(seq: u64, due: i64) -> Delivery {
        Delivery {
            seq: Seq::new(seq),
            event: EventId::from_bytes([1; 16]),
            event_type: EventType::parse("a").expect("valid"),
            state: DeliveryState::Retrying { attempts: 1, next_at: at(due) },
            body: None,
            format: Format::Standard,
        }
    }

    #[test]
    fn rows_come_when_they_are_due_and_once() {
        let mut retries = Retries::new(at(10));
        assert!(retries.look(at(10)));
        assert!(!retries.look(at(10)), "one look at a time");
        retries.loaded(vec![row(1, 5), row(2, 20)], at(10));
        assert_eq!(retries.pop().map(|row| row.seq.get()), Some(1));
        assert_eq!((retries.has_ready(), retries.next_look()), (false, Some(at(20))));
        assert!(retries.look(at(20)));
        retries.loaded(vec![row(1, 5), row(2, 20)], at(20));
        assert_eq!(retries.pop().map(|row| row.seq.get()), Some(2), "the first one is under way");
        retries.reported(Seq::new(1));
        assert!(retries.look(at(21)));
        retries.loaded(Vec::new(), at(21));
        assert_eq!(retries.next_look(), None);
        retries.due(at(30));
        assert_eq!(retries.next_look(), Some(at(30)));
    }
    #[test]
    fn many_that_are_due_later_are_looked_at_when_the_first_is_due() {
        let rows = |due: i64| (1..=Retries::LOOK as u64).map(|seq| row(seq, due + seq as i64)).collect();
        let mut retries = Retries::new(at(10));
        assert!(retries.look(at(10)));
        retries.loaded(rows(100), at(10));
        assert_eq!(retries.next_look(), Some(at(101)));
        assert!(retries.look(at(101)));
        retries.loaded(rows(0), at(101));
        while retries.pop().is_some() {}
        assert_eq!(retries.next_look(), Some(at(101)), "behind those that are due there may be others");
    }
}
