//! What is due, ready to be written.

use std::{collections::HashMap, fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use foldhash::fast::RandomState;
use smallvec::SmallVec;
use tidings_core::{Seq, Timestamp};

use crate::{Encoding, FeedId, Slot, view::View};

/// Whole frames back to back, at least one. Shared: a clone costs two counters.
#[derive(Debug, Clone)]
pub struct Batch {
    pub bytes: Bytes,
    /// Where each frame ends in `bytes`, in order.
    pub frames: Arc<[FrameEnd]>,
    /// When the first of its events was committed.
    pub oldest_time: Timestamp,
    /// Everything up to here has been judged.
    pub(crate) through: Seq,
    /// Whether it came from the ring.
    pub(crate) live: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameEnd {
    pub seq: Seq,
    pub end: u32,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Judges `slots` in order until a match would make it longer than `max_bytes`; the first match
    /// goes in whatever its length. `all_through`: what is judged when the slots are all gone through.
    pub(crate) fn assemble<'a>(
        slots: impl Iterator<Item = &'a Slot>,
        all_through: Seq,
        view: &View,
        encoding: Encoding,
        max_bytes: usize,
    ) -> Self {
        let mut parts: SmallVec<[&Bytes; 32]> = SmallVec::new();
        let mut frames: SmallVec<[FrameEnd; 32]> = SmallVec::new();
        let mut oldest_time = Timestamp::default();
        let mut len = 0;
        let mut through = all_through;
        for slot in slots.filter(|slot| view.admits(slot.event())) {
            let frame = slot.frame(encoding);
            if len > 0 && len + frame.len() > max_bytes.min(u32::MAX as usize) {
                through = slot.seq().prev();
                break;
            }
            if len == 0 {
                oldest_time = slot.event().time;
            }
            len += frame.len();
            parts.push(frame);
            frames.push(FrameEnd { seq: slot.seq(), end: len as u32 });
        }
        Self { bytes: join(&parts, len), frames: Arc::from(&*frames), oldest_time, through, live: false }
    }
}

fn join(parts: &[&Bytes], len: usize) -> Bytes {
    match parts {
        [] => Bytes::new(),
        [one] => Bytes::clone(one),
        _ => {
            let mut bytes = BytesMut::with_capacity(len);
            for part in parts {
                bytes.extend_from_slice(part);
            }
            bytes.freeze()
        }
    }
}

/// One thread's memory of the batches that it has just handed out, so that the subscriptions at the
/// same place with the same encoding and filter share one buffer. [`clear`](Self::clear) it between
/// wake-ups, or it keeps their memory; what it remembers never becomes wrong. It holds at most some
/// 16 MiB, then it starts anew.
#[derive(Default)]
pub struct Batcher {
    batches: HashMap<Place, Batch, RandomState>,
    bytes: usize,
    /// Of one look into a ring; empty between calls.
    pub(crate) scratch: Vec<Arc<Slot>>,
}

/// Where a subscription is and what it gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) feed: FeedId,
    pub(crate) cursor: Seq,
    pub(crate) view: u64,
    pub(crate) encoding: Encoding,
}

impl Batcher {
    const BYTES_MAX: usize = 16 << 20;
    /// What a remembered batch takes beside its bytes and frames.
    const ENTRY_BYTES: usize = 192;

    pub fn new() -> Self {
        Self::default()
    }

    pub fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }

    pub(crate) fn get(&self, place: &Place, max_bytes: usize) -> Option<Batch> {
        let batch = self.batches.get(place)?;
        (batch.bytes.len() <= max_bytes || batch.frames.len() == 1).then(|| batch.clone())
    }

    pub(crate) fn remember(&mut self, place: Place, batch: &Batch) {
        if self.bytes > Self::BYTES_MAX {
            self.clear();
        }
        self.bytes += batch.bytes.len() + size_of_val(&*batch.frames) + Self::ENTRY_BYTES;
        self.batches.insert(place, batch.clone());
    }
}

impl fmt::Debug for Batcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher")
            .field("batches", &self.batches.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Transport,
        testing::{event_of_size, slot},
        view::Views,
    };
    use tidings_core::{Audience, Filter, Verbosity};

    const WS: Encoding = Encoding { transport: Transport::WebSocket, verbosity: Verbosity::Minimal };

    fn batch(sizes: &[usize], max_bytes: usize) -> Batch {
        let views = Arc::new(Views::default());
        let view = views.get(Filter::default(), Audience::unlimited());
        let slots: Vec<_> = (1_u64..).zip(sizes).map(|(seq, size)| slot(event_of_size(seq, *size))).collect();
        let through = Seq::new(sizes.len() as u64);
        Batch::assemble(slots.iter().map(|s| &**s), through, &view, WS, max_bytes)
    }

    #[test]
    fn a_batch_is_whole_frames_within_its_bound() {
        let all = batch(&[1_000, 1_000, 1_000], 1 << 16);
        assert_eq!((all.frames.len(), all.through.get()), (3, 3));
        let two = batch(&[1_000, 1_000, 1_000], 2_500);
        assert_eq!((two.frames.len(), two.bytes.len(), two.through.get()), (2, 2_008, 2));
        let large = batch(&[9_000, 1_000], 2_500);
        assert_eq!((large.frames.len(), large.through.get()), (1, 1), "at least one frame");
    }
}
