use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use super::request::Request;

/// What came to one receiver, in order.
#[derive(Debug, Default)]
pub struct Record {
    came: Vec<Came>,
    events: BTreeMap<u64, Event>,
    taken: usize,
    /// What should not be: an event under two ids, or sent before the one before it was taken.
    ids_changed: Vec<u64>,
    out_of_order: Vec<(u64, u64)>,
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub struct Came {
    pub seq: u64,
    /// From the event's commit.
    pub after: Duration,
}

#[derive(Debug)]
struct Event {
    /// Of its `webhook-id`: a million of those themselves would be much to keep.
    id: u64,
    attempts: usize,
    taken: bool,
}

impl Record {
    /// How often it came before.
    pub(super) fn arrived(&mut self, request: &Request) -> usize {
        let mut hasher = DefaultHasher::new();
        request.id.hash(&mut hasher);
        let (seq, id, now) = (request.seq, hasher.finish(), jiff::Timestamp::now().as_microsecond());
        let after = Duration::from_micros((now - request.time).max(0) as u64);
        if let Some((last, event)) = self.events.range(..seq).next_back()
            && !event.taken
        {
            self.out_of_order.push((*last, seq));
        }
        self.came.push(Came { seq, after });
        let event = self.events.entry(seq).or_insert(Event { id, attempts: 0, taken: false });
        if event.id != id {
            self.ids_changed.push(seq);
        }
        event.attempts += 1;
        event.attempts - 1
    }

    pub(super) fn took(&mut self, seq: u64) {
        if let Some(event) = self.events.get_mut(&seq) {
            self.taken += usize::from(!std::mem::replace(&mut event.taken, true));
        }
    }

    pub fn came(&self) -> &[Came] {
        &self.came
    }

    /// How many events it took, each counted once.
    pub const fn taken(&self) -> usize {
        self.taken
    }

    /// How many of the events that came it has not taken.
    pub fn untaken(&self) -> usize {
        self.events.len() - self.taken
    }

    /// What came beyond the first attempt of each event.
    pub fn repeats(&self) -> usize {
        self.came.len() - self.events.len()
    }

    /// Of the events that were taken, how many were at their first attempt.
    pub fn taken_at_first(&self) -> usize {
        self.events.values().filter(|event| event.taken && event.attempts == 1).count()
    }

    /// The ids of events, as hashes.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.events.values().map(|event| event.id)
    }

    /// Checks that every one of these was taken, that nothing else came, and that each had one id.
    #[track_caller]
    pub fn assert_whole(&self, who: &str, expected: &BTreeSet<u64>) {
        let taken = self.events.iter().filter(|(_, event)| event.taken).map(|(seq, _)| *seq).collect();
        let missing: Vec<_> = expected.difference(&taken).collect();
        assert!(
            missing.is_empty(),
            "{who}: {} of {} are missing: {missing:?}",
            missing.len(),
            expected.len()
        );
        self.assert_nothing_else(who, expected);
    }

    /// Checks that nothing but these came, each under one id.
    #[track_caller]
    pub fn assert_nothing_else(&self, who: &str, expected: &BTreeSet<u64>) {
        let strangers: Vec<_> = self.events.keys().filter(|seq| !expected.contains(seq)).collect();
        assert!(strangers.is_empty(), "{who}: what its filter keeps out came: {strangers:?}");
        assert!(self.ids_changed.is_empty(), "{who}: events under several ids: {:?}", self.ids_changed);
    }

    /// Checks that no event was tried before the ones before it were taken.
    #[track_caller]
    pub fn assert_in_order(&self, who: &str) {
        assert!(
            self.out_of_order.is_empty(),
            "{who}: (not taken, tried after it): {:?}",
            &self.out_of_order[..self.out_of_order.len().min(8)]
        );
        let mut first = BTreeSet::new();
        let mut last = 0;
        for came in &self.came {
            assert!(!first.insert(came.seq) || came.seq > last, "{who}: {} came after {last}", came.seq);
            last = last.max(came.seq);
        }
    }
}
