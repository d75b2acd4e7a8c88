use std::collections::VecDeque;

use tidings_core::{Seq, Timestamp};

/// First attempts that were begun, in the order of the log, back to the oldest that is not done.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<Begun>);

#[derive(Debug)]
struct Begun {
    seq: Seq,
    /// Of the event.
    time: Timestamp,
    done: bool,
}

impl Window {
    /// Each seq is later than the ones before.
    pub(super) fn begin(&mut self, seq: Seq, time: Timestamp) {
        debug_assert!(self.0.back().is_none_or(|last| last.seq < seq), "attempts begin in order");
        self.0.push_back(Begun { seq, time, done: false });
    }

    pub(super) fn done(&mut self, seq: Seq) {
        if let Ok(at) = self.0.binary_search_by_key(&seq, |begun| begun.seq) {
            self.0[at].done = true;
        }
        while self.0.front().is_some_and(|begun| begun.done) {
            self.0.pop_front();
        }
    }

    /// Everything before it is done.
    pub(super) fn first(&self) -> Option<(Seq, Timestamp)> {
        self.0.front().map(|begun| (begun.seq, begun.time))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_first_is_the_oldest_that_is_not_done() {
        let mut window = Window::default();
        for seq in [3, 5, 6, 9] {
            window.begin(Seq::new(seq), Timestamp::from_secs(seq as i64));
        }
        let first = |window: &Window| window.first().map(|(seq, _)| seq.get());
        window.done(Seq::new(5));
        assert_eq!((first(&window), window.len()), (Some(3), 4));
        window.done(Seq::new(3));
        assert_eq!((first(&window), window.len()), (Some(6), 2));
        window.done(Seq::new(9));
        window.done(Seq::new(6));
        assert_eq!(first(&window), None);
    }
}
