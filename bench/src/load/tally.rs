use std::fmt;

use serde::{Deserialize, Serialize};

use super::message::{Stamp, read_digits};

/// What one subscriber has seen, checked as it comes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Events, published by this load or by others.
    pub(crate) events: u64,
    /// Bytes of their payloads.
    pub(crate) bytes: u64,
    /// Events with a stamp of this load.
    pub(crate) stamped: u64,
    /// Order-dependent digest of the stamps: equal for all who saw the same sequence.
    pub(crate) digest: u64,
    last_seq: Option<u64>,
    pub(crate) gaps: u64,
    pub(crate) doubles: u64,
    pub(crate) disorders: u64,
}

impl Tally {
    /// Where a stream starts: the next event is `head + 1`.
    pub(crate) fn open(&mut self, head: u64) {
        self.last_seq = Some(head);
    }

    /// Counts an event of a numbered stream: each is one more than the last.
    pub(crate) fn numbered(&mut self, seq: u64) {
        if let Some(last) = self.last_seq {
            self.gaps += seq.saturating_sub(last + 1);
            self.doubles += u64::from(seq == last);
            self.disorders += u64::from(seq < last);
        }
        self.last_seq = Some(seq);
    }

    pub(crate) fn stamped(&mut self, stamp: Stamp) {
        self.stamped += 1;
        self.digest = self.digest.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(stamp.n + 1);
    }
}

/// The number of an envelope, which is its first field.
#[inline]
pub(crate) fn seq(payload: &[u8]) -> Option<u64> {
    let rest = payload.strip_prefix(br#"{"seq":"#)?;
    let end = rest.iter().position(|b| *b == b',')?;
    read_digits(&rest[..end])
}

/// What went wrong on the way to all subscribers together. All zeros is what a run must show.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Faults {
    /// Events that were acknowledged and did not come.
    pub lost: u64,
    pub doubled: u64,
    pub out_of_order: u64,
    /// Subscribers that saw the events in another order than the first one did.
    pub disagreeing: u64,
    /// Streams that ended before the load did.
    pub ended: u64,
    /// Publishes that were not acknowledged with a 2xx.
    pub refused: u64,
    /// The first of these in words.
    pub first: Option<String>,
}

impl Faults {
    pub const fn is_none(&self) -> bool {
        self.lost + self.doubled + self.out_of_order + self.disagreeing + self.ended + self.refused == 0
    }

    /// Adds what `tallies` show after `published` stamped events were acknowledged.
    pub(crate) fn add<'a>(&mut self, tallies: impl Iterator<Item = &'a Tally>, published: u64) {
        let mut digest = None;
        for tally in tallies {
            self.lost += published.saturating_sub(tally.stamped).max(tally.gaps);
            self.doubled += tally.doubles.max(tally.stamped.saturating_sub(published));
            self.out_of_order += tally.disorders;
            self.disagreeing += u64::from(*digest.get_or_insert(tally.digest) != tally.digest);
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} lost, {} doubled, {} out of order, {} subscribers disagree, {} streams ended, {} publishes refused: {}",
            self.lost,
            self.doubled,
            self.out_of_order,
            self.disagreeing,
            self.ended,
            self.refused,
            self.first.as_deref().unwrap_or("no reason was given")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(seqs: &[u64]) -> Tally {
        let mut tally = Tally::default();
        tally.open(4);
        for seq in seqs {
            tally.numbered(*seq);
            tally.stamped(Stamp { at_us: 0, n: *seq });
        }
        tally
    }

    fn faults(tallies: &[Tally], published: u64) -> (u64, u64, u64, u64) {
        let mut faults = Faults::default();
        faults.add(tallies.iter(), published);
        (faults.lost, faults.doubled, faults.out_of_order, faults.disagreeing)
    }

    #[test]
    fn loss_doubles_and_disorder_are_told_apart() {
        assert_eq!(faults(&[tally(&[5, 6, 7]), tally(&[5, 6, 7])], 3), (0, 0, 0, 0));
        assert_eq!(faults(&[tally(&[5, 6, 7]), tally(&[5, 7])], 3), (1, 0, 0, 1));
        assert_eq!(faults(&[tally(&[5, 6])], 3), (1, 0, 0, 0), "the last one is missing");
        assert_eq!(faults(&[tally(&[6, 7])], 3), (1, 0, 0, 0), "the first one is missing");
        assert_eq!(faults(&[tally(&[5, 5, 6])], 2), (0, 1, 0, 0));
        assert_eq!(faults(&[tally(&[5, 7, 6])], 3).2, 1);
    }

    #[test]
    fn an_envelope_begins_with_its_seq() {
        assert_eq!(seq(br#"{"seq":1042,"id":"x"}"#), Some(1042));
        assert_eq!(seq(br#"{"type":"stream.open","seq":1}"#), None);
    }
}
