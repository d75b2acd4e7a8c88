use std::io::IoSlice;

use bytes::Bytes;
use tidings_core::Seq;
use tidings_live::Batch;

/// What is to be written next: the rest of a frame that was begun, then control frames, then a batch
/// that was just handed out. A batch never waits here: what the socket did not take of it is given
/// back to the subscription, so that a blocked connection holds the rest of one frame.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    partial: Bytes,
    /// Whole control frames.
    control: Vec<u8>,
    batch: Option<Batch>,
}

/// What became of the batch that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Events whose frames are written or begun.
    pub(crate) messages: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Where the subscription goes on, if not behind the whole batch.
    pub(crate) rewind: Option<Seq>,
}

impl Outbox {
    /// Control frames may be queued up to here before a client that does not read them is read no more.
    pub(crate) const CONTROL_HIGH: usize = 16 << 10;

    pub(crate) fn control(&mut self) -> &mut Vec<u8> {
        &mut self.control
    }

    pub(crate) fn offer(&mut self, batch: Batch) {
        debug_assert!(self.batch.is_none(), "a batch is settled before the next is asked for");
        self.batch = Some(batch);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.control.is_empty() && self.batch.is_none()
    }

    /// Bytes that are held beside the batch.
    pub(crate) fn held(&self) -> usize {
        self.partial.len() + self.control.len()
    }

    /// The one buffer there is, in the common case.
    pub(crate) fn single(&self) -> Option<&[u8]> {
        match (&self.batch, self.partial.is_empty(), self.control.is_empty()) {
            (Some(batch), true, true) => Some(&batch.bytes),
            _ => None,
        }
    }

    /// Everything in order, empty parts included.
    pub(crate) fn slices(&self) -> [IoSlice<'_>; 3] {
        let batch = self.batch.as_ref().map_or(&[][..], |b| &b.bytes);
        [IoSlice::new(&self.partial), IoSlice::new(&self.control), IoSlice::new(batch)]
    }

    /// The batch on offer.
    pub(crate) fn batch(&self) -> Option<&Batch> {
        self.batch.as_ref()
    }

    /// The socket took the first `n` bytes of all that was on offer. Settles the batch.
    pub(crate) fn took(&mut self, n: usize) -> Option<Sent> {
        let of_partial = n.min(self.partial.len());
        self.partial = self.partial.split_off(of_partial);
        let of_control = (n - of_partial).min(self.control.len());
        if of_control > 0 {
            let rest = std::mem::take(&mut self.control).split_off(of_control);
            // What is begun goes first from now on, and is not added to.
            self.partial = rest.into();
        }
        self.batch.take().map(|batch| self.settle(&batch, n - of_partial - of_control))
    }

    fn settle(&mut self, batch: &Batch, n: usize) -> Sent {
        if n == batch.bytes.len() {
            return Sent { messages: batch.frames.len() as u64, bytes: n as u64, rewind: None };
        }
        let whole = batch.frames.partition_point(|frame| frame.end as usize <= n);
        let whole_end = if whole == 0 { 0 } else { batch.frames[whole - 1].end as usize };
        if n == whole_end {
            let first = batch.frames.first().map_or(Seq::ZERO, |frame| frame.seq);
            let to = if whole == 0 { first.prev() } else { batch.frames[whole - 1].seq };
            return Sent { messages: whole as u64, bytes: n as u64, rewind: Some(to) };
        }
        let begun = batch.frames[whole];
        // A copy, so that one slow socket does not keep the whole shared buffer alive.
        self.partial = Bytes::copy_from_slice(&batch.bytes[n..begun.end as usize]);
        Sent { messages: whole as u64 + 1, bytes: u64::from(begun.end), rewind: Some(begun.seq) }
    }
}
