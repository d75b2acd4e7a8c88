use tidings_core::{Cursor, Epoch, Seq};

use super::Start;

/// How far a stream has come, and what the next number means. Pure: it sees numbers, never bytes.
#[derive(Debug)]
pub(super) struct Position {
    /// Known from the first `stream.open` on, or from a cursor that names it.
    epoch: Option<Epoch>,
    /// The last seq that was judged; `None` until the first `stream.open` of a stream that starts now.
    seq: Option<Seq>,
    /// Whether every seq is expected: then a hole is a loss until a replay shows otherwise.
    contiguous: bool,
    /// The open connection is of another epoch than the cursor, and no reset has said so yet.
    reset_due: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Next,
    /// Seen before.
    Duplicate,
    /// Events after the position up to and with this seq are missing.
    Gap {
        up_to: Seq,
    },
}

impl Position {
    pub(super) fn new(start: &Start, unfiltered: bool) -> Self {
        let (epoch, seq) = match start {
            Start::Now => (None, None),
            Start::After(cursor) => (cursor.epoch.clone(), Some(cursor.seq)),
        };
        Self { epoch, seq, contiguous: unfiltered, reset_due: false }
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.seq.map(|seq| Cursor { epoch: self.epoch.clone(), seq })
    }

    /// A connection opened. `true`: its history is another one, so that the cursor means nothing in it.
    pub(super) fn opened(&mut self, epoch: &Epoch, head: Seq, oldest: Seq) -> bool {
        match (&self.epoch, self.seq) {
            (_, None) => self.seq = Some(head),
            // 0 is "all that is kept", which is no loss.
            (_, Some(Seq::ZERO)) => self.seq = Some(oldest.prev()),
            (Some(known), Some(_)) if known != epoch => {
                self.reset_due = true;
                return true;
            }
            _ => {}
        }
        self.epoch = Some(epoch.clone());
        self.reset_due = false;
        false
    }

    /// The server says where the stream goes on.
    pub(super) fn reset(&mut self, epoch: Epoch, oldest: Seq) {
        self.epoch = Some(epoch);
        self.seq = Some(oldest.prev());
        self.reset_due = false;
    }

    /// Whether a reset must come before anything else is believed.
    pub(super) const fn awaits_reset(&self) -> bool {
        self.reset_due
    }

    pub(super) fn judge(&self, seq: Seq) -> Verdict {
        let Some(last) = self.seq else { return Verdict::Next };
        if seq <= last {
            Verdict::Duplicate
        } else if self.contiguous && seq > last.next() {
            Verdict::Gap { up_to: seq.prev() }
        } else {
            Verdict::Next
        }
    }

    /// A heartbeat's cursor: every match up to it came earlier on this connection. Returns whether it
    /// fits this history.
    pub(super) fn heartbeat(&self, cursor: &Cursor) -> Option<Verdict> {
        if cursor.epoch.is_some() && cursor.epoch != self.epoch {
            return None;
        }
        let last = self.seq.unwrap_or_default();
        Some(if self.contiguous && cursor.seq > last {
            Verdict::Gap { up_to: cursor.seq }
        } else {
            Verdict::Next
        })
    }

    /// Everything up to `seq` has been yielded or does not match.
    pub(super) fn advance(&mut self, seq: Seq) {
        self.seq = self.seq.max(Some(seq));
    }

    /// A replay showed holes: this credential does not see everything, so that holes mean nothing.
    pub(super) const fn holes_are_normal(&mut self) {
        self.contiguous = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, unfiltered: bool) -> Position {
        Position::new(&Start::After(text.parse().expect("valid")), unfiltered)
    }

    #[test]
    fn a_hole_is_a_gap_only_where_every_event_is_expected() {
        let mut all = at("abc:5", true);
        assert_eq!(all.judge(Seq::new(6)), Verdict::Next);
        assert_eq!(all.judge(Seq::new(5)), Verdict::Duplicate);
        assert_eq!(all.judge(Seq::new(9)), Verdict::Gap { up_to: Seq::new(8) });
        all.holes_are_normal();
        assert_eq!(all.judge(Seq::new(9)), Verdict::Next);
        assert_eq!(at("abc:5", false).judge(Seq::new(9)), Verdict::Next);
    }

    #[test]
    fn a_heartbeat_ahead_of_an_unfiltered_stream_is_a_loss() {
        let cursor = "abc:8".parse().expect("valid");
        assert_eq!(at("abc:5", true).heartbeat(&cursor), Some(Verdict::Gap { up_to: Seq::new(8) }));
        assert_eq!(at("abc:5", false).heartbeat(&cursor), Some(Verdict::Next));
        assert_eq!(at("xyz:5", false).heartbeat(&cursor), None);
    }

    #[test]
    fn another_epoch_waits_for_its_reset() {
        let epoch = Epoch::parse("new1").expect("valid");
        let mut position = at("abc:5", true);
        assert!(position.opened(&epoch, Seq::new(3), Seq::new(1)) && position.awaits_reset());
        position.reset(epoch.clone(), Seq::new(1));
        assert!(!position.awaits_reset());
        assert_eq!(position.cursor().expect("set").to_string(), "new1:0");
        assert!(!position.opened(&epoch, Seq::new(3), Seq::new(1)));
    }

    #[test]
    fn zero_is_all_that_is_kept() {
        let mut position = at("0", true);
        position.opened(&Epoch::parse("abc").expect("valid"), Seq::new(9), Seq::new(4));
        assert_eq!(position.judge(Seq::new(4)), Verdict::Next);
    }
}
