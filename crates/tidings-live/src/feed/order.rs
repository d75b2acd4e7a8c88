//! What goes into a feed, and when: the next event and nothing else. What comes early waits for its turn.

use std::{collections::VecDeque, sync::Arc};

use tidings_core::{Epoch, Event, Seq};

use super::{early::Early, ring::Ring};
use crate::{LiveConfig, Slot};

/// Pure: no clock, no store. The feed asks it after each offer whether the store must be read.
#[derive(Debug)]
pub(crate) struct Order {
    phase: Phase,
    ring: Ring,
    /// Ahead of the tail's next.
    early: Early,
    /// The newest seq heard of. Above the tail it means a gap.
    heard: Seq,
    /// Events that came whose seqs were taken, by others or unknown: is this still the same history?
    doubts: u64,
    /// One repair at a time.
    repairing: bool,
    opening_bytes_max: usize,
    opening_events_max: usize,
}

#[derive(Debug)]
enum Phase {
    /// Registered, the head not yet read: what comes is kept, and becomes a hint where it is too much.
    Opening {
        /// Each with its history, where that was told.
        early: VecDeque<(Option<Epoch>, Arc<Event>)>,
        bytes: usize,
    },
    Open,
    Ended,
}

impl Order {
    pub(crate) fn new(config: &LiveConfig) -> Self {
        Self {
            phase: Phase::Opening { early: VecDeque::new(), bytes: 0 },
            ring: Ring::new(config.ring_events, config.ring_bytes),
            early: Early::new(config.early_events, config.early_bytes),
            heard: Seq::ZERO,
            doubts: 0,
            repairing: false,
            opening_bytes_max: config.ring_bytes,
            opening_events_max: config.ring_events,
        }
    }

    pub(crate) fn tail(&self) -> Seq {
        self.ring.tail()
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    pub(crate) fn ring_mut(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// The head was read: from here events are appended. Returns what came before and lies after
    /// the head, to be offered. What is of another history than `epoch` is doubted.
    pub(crate) fn open(&mut self, head: Seq, epoch: &Epoch) -> Vec<Arc<Event>> {
        let Phase::Opening { early, .. } = &mut self.phase else { return Vec::new() };
        let early = std::mem::take(early);
        self.phase = Phase::Open;
        self.ring.restart(head);
        let known = early.len();
        let mut ours: Vec<_> = early
            .into_iter()
            .filter(|(theirs, _)| theirs.as_ref().is_none_or(|theirs| theirs == epoch))
            .map(|(_, event)| event)
            .collect();
        self.doubts += u64::from(ours.len() < known);
        ours.retain(|event| event.seq > head);
        ours
    }

    /// Takes no more. Returns what it held.
    pub(crate) fn clear(&mut self) -> Vec<Arc<Slot>> {
        self.phase = Phase::Ended;
        let mut gone = self.ring.restart(self.ring.tail());
        self.early.clear(&mut gone);
        gone
    }

    /// Gives up what waits for its turn. It stays heard of.
    pub(crate) fn drop_early(&mut self) -> Vec<Arc<Slot>> {
        let mut gone = Vec::new();
        self.early.clear(&mut gone);
        gone
    }

    /// Whether this is still the same history is to be looked at.
    pub(crate) fn doubt(&mut self) {
        self.doubts += 1;
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Appends `tail + 1` and what waits behind it; drops what it has; anything further ahead is heard
    /// of and waits. `epoch` is the history of the event where that is known and this one's is not yet:
    /// once it is, only events of it are offered.
    pub(crate) fn offer(
        &mut self,
        event: &Arc<Event>,
        epoch: Option<&Epoch>,
        slot: impl FnOnce(&Arc<Event>) -> Arc<Slot>,
        stamp: u64,
        gone: &mut Vec<Arc<Slot>>,
    ) {
        match &mut self.phase {
            Phase::Opening { early, bytes } => {
                self.heard = self.heard.max(event.seq);
                *bytes += Slot::cost(event);
                if *bytes > self.opening_bytes_max || early.len() >= self.opening_events_max {
                    early.clear();
                    *bytes = 0;
                } else {
                    early.push_back((epoch.cloned(), event.clone()));
                }
            }
            Phase::Open if event.seq == self.ring.tail().next() => {
                self.ring.push(slot(event), stamp, gone);
                self.follow(stamp, gone);
            }
            Phase::Open if event.seq > self.ring.tail() => {
                self.heard = self.heard.max(event.seq);
                self.early.keep(slot(event), gone);
            }
            Phase::Open => {
                let known = self.ring.get(event.seq).is_some_and(|s| s.event().fact.id == event.fact.id);
                self.doubts += u64::from(!known);
            }
            Phase::Ended => {}
        }
    }

    /// Appends what was early and is next now.
    fn follow(&mut self, stamp: u64, gone: &mut Vec<Arc<Slot>>) {
        while let Some(slot) = self.early.take(self.ring.tail().next(), gone) {
            self.ring.push(slot, stamp, gone);
        }
    }

    pub(crate) fn heard(&mut self, head: Seq) {
        self.heard = self.heard.max(head);
    }

    pub(crate) fn needs_repair(&self) -> bool {
        matches!(self.phase, Phase::Open) && (self.doubts > 0 || self.heard > self.ring.tail())
    }

    /// Whether the caller is to start a repair: one is needed and none is under way.
    pub(crate) fn start_repair(&mut self) -> bool {
        let start = self.needs_repair() && !self.repairing;
        self.repairing |= start;
        start
    }

    /// What a repair has to read now; `None` ends it.
    pub(crate) fn repair_from(&mut self) -> Option<Asked> {
        self.repairing = self.needs_repair();
        self.repairing.then(|| Asked { after: self.ring.tail(), heard: self.heard, doubts: self.doubts })
    }

    /// The store's answer to a repair, read from this very history: consecutive events, the head, and
    /// the seq before the oldest that is kept. Where retention has passed the tail, the feed goes on there.
    pub(crate) fn repaired(
        &mut self,
        asked: &Asked,
        answer: Answer,
        slot: impl Fn(&Arc<Event>) -> Arc<Slot>,
        stamp: u64,
        gone: &mut Vec<Arc<Slot>>,
    ) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        if answer.floor > self.ring.tail() {
            gone.append(&mut self.ring.restart(answer.floor));
        }
        let nothing_more = answer.events.is_empty() && self.ring.tail() == asked.after;
        for event in answer.events.into_iter().map(Arc::new) {
            if event.seq == self.ring.tail().next() {
                self.ring.push(slot(&event), stamp, gone);
            }
        }
        self.follow(stamp, gone);
        // What was heard or doubted since the store was asked needs another look.
        if answer.head > self.ring.tail() && !nothing_more {
            self.heard = self.heard.max(answer.head);
        } else if self.heard == asked.heard {
            self.heard = self.ring.tail();
            self.early.clear(gone);
        }
        if self.doubts == asked.doubts {
            self.doubts = 0;
        }
    }
}

/// What was known when a repair asked the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) after: Seq,
    heard: Seq,
    doubts: u64,
}

/// What the store answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) events: Vec<Event>,
    pub(crate) head: Seq,
    pub(crate) floor: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{event, slot};

    fn offer(order: &mut Order, seq: u64) {
        let event = Arc::new(event(seq));
        order.offer(&event, None, |e| slot(Event::clone(e)), 0, &mut Vec::new());
    }

    fn repaired(order: &mut Order, asked: Asked, head: u64, events: &[u64]) {
        let events = events.iter().map(|n| event(*n)).collect();
        let answer = Answer { events, head: Seq::new(head), floor: Seq::ZERO };
        order.repaired(&asked, answer, |e| slot(Event::clone(e)), 0, &mut Vec::new());
    }

    fn epoch() -> Epoch {
        Epoch::parse("e1").expect("valid")
    }

    fn open(head: u64) -> Order {
        let mut order = Order::new(&LiveConfig::default());
        order.open(Seq::new(head), &epoch());
        order
    }

    #[test]
    fn only_the_next_is_appended() {
        let mut order = open(5);
        offer(&mut order, 7);
        assert_eq!(order.tail().get(), 5);
        assert!(order.start_repair());
        assert!(!order.start_repair(), "one at a time");
        offer(&mut order, 9);
        offer(&mut order, 6);
        offer(&mut order, 6);
        assert_eq!(order.tail().get(), 7, "7 has waited");
        assert_eq!(order.repair_from().map(|asked| asked.after), Some(Seq::new(7)), "8 is missing");
        offer(&mut order, 8);
        assert_eq!((order.tail().get(), order.repair_from()), (9, None));
    }

    #[test]
    fn what_waits_behind_a_gap_follows_what_is_read() {
        let mut order = open(3);
        for seq in [5, 6, 8] {
            offer(&mut order, seq);
        }
        let asked = order.repair_from().expect("needed");
        repaired(&mut order, asked, 8, &[4]);
        assert_eq!(order.tail().get(), 6);
        let asked = order.repair_from().expect("7 is missing");
        repaired(&mut order, asked, 8, &[7]);
        assert_eq!((order.tail().get(), order.repair_from()), (8, None));
    }

    #[test]
    fn a_look_goes_on_to_the_head_that_it_finds() {
        let mut order = open(3);
        order.doubt();
        let asked = order.repair_from().expect("doubted");
        repaired(&mut order, asked, 900, &[4, 5]);
        assert_eq!(order.repair_from().map(|asked| asked.after), Some(Seq::new(5)));
    }

    #[test]
    fn what_the_store_does_not_confirm_is_never_appended() {
        let mut order = open(3);
        offer(&mut order, 5);
        let asked = order.repair_from().expect("needed");
        repaired(&mut order, asked, 3, &[]);
        offer(&mut order, 4);
        assert_eq!((order.tail().get(), order.needs_repair()), (4, false));
    }

    #[test]
    fn before_the_history_is_known_another_ones_events_are_only_doubted() {
        let mut order = Order::new(&LiveConfig::default());
        for (seq, history) in [(4, Some("e1")), (5, Some("e2")), (6, None)] {
            let history = history.map(|name| Epoch::parse(name).expect("valid"));
            let event = Arc::new(event(seq));
            order.offer(&event, history.as_ref(), |e| slot(Event::clone(e)), 0, &mut Vec::new());
        }
        let early = order.open(Seq::new(3), &epoch());
        assert_eq!(early.iter().map(|e| e.seq.get()).collect::<Vec<_>>(), [4, 6]);
        assert!(order.needs_repair());
    }

    #[test]
    fn a_duplicate_is_dropped_and_a_stranger_is_doubted() {
        let mut order = open(0);
        offer(&mut order, 1);
        offer(&mut order, 1);
        assert!(!order.needs_repair());
        let mut stranger = event(1);
        stranger.fact.id = tidings_core::EventId::from_bytes([9; 16]);
        order.offer(&Arc::new(stranger), None, |e| slot(Event::clone(e)), 0, &mut Vec::new());
        assert!(order.needs_repair());
        let asked = order.repair_from().expect("doubted");
        repaired(&mut order, asked, 1, &[]);
        assert!(!order.needs_repair());
    }

    #[test]
    fn a_head_that_the_store_does_not_confirm_is_forgotten() {
        let mut order = open(3);
        order.heard(Seq::new(9));
        assert!(order.needs_repair());
        let asked = order.repair_from().expect("needed");
        repaired(&mut order, asked, 3, &[]);
        assert!(!order.needs_repair());
    }

    #[test]
    fn what_is_heard_while_the_store_is_read_is_not_forgotten() {
        let mut order = open(3);
        order.heard(Seq::new(5));
        let asked = order.repair_from().expect("needed");
        offer(&mut order, 7);
        repaired(&mut order, asked, 5, &[4, 5]);
        assert_eq!(order.tail().get(), 5);
        assert_eq!(order.repair_from().map(|asked| asked.after), Some(Seq::new(5)));
    }

    #[test]
    fn a_gap_larger_than_the_answer_is_not_forgotten_when_the_answer_came_live_meanwhile() {
        let mut order = open(3);
        order.heard(Seq::new(5_000));
        let asked = order.repair_from().expect("needed");
        offer(&mut order, 4);
        offer(&mut order, 5);
        repaired(&mut order, asked, 5_000, &[4, 5]);
        assert_eq!(order.repair_from().map(|asked| asked.after), Some(Seq::new(5)));
    }

    #[test]
    fn where_retention_has_passed_the_tail_it_goes_on_at_the_floor() {
        let mut order = open(3);
        order.heard(Seq::new(9));
        let asked = order.repair_from().expect("needed");
        let answer = Answer { events: vec![event(8), event(9)], head: Seq::new(9), floor: Seq::new(7) };
        order.repaired(&asked, answer, |e| slot(Event::clone(e)), 0, &mut Vec::new());
        assert_eq!((order.ring().first().get(), order.tail().get()), (8, 9));
        assert!(!order.needs_repair());
    }

    #[test]
    fn what_comes_before_the_head_is_read_is_kept_within_bounds() {
        let mut order = Order::new(&LiveConfig { ring_events: 2, ..LiveConfig::default() });
        offer(&mut order, 6);
        offer(&mut order, 7);
        assert_eq!(order.open(Seq::new(6), &epoch()).len(), 1, "6 is in the head");
        let mut order = Order::new(&LiveConfig { ring_events: 2, ..LiveConfig::default() });
        (6..=8).for_each(|n| offer(&mut order, n));
        assert_eq!(order.open(Seq::new(6), &epoch()).len(), 0);
        assert!(order.needs_repair(), "too many to keep: now they are a hint");
    }
}
