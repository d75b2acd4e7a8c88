//! A subscriber and what it must see.

use std::sync::Arc;

use tidings_core::{Audience, Event, Filter, Verbosity};
use tidings_store::ReadError;
use tokio::sync::oneshot;

use super::world::World;
use crate::{
    Batcher, Encoding, Next, Page, Reset, ResetReason, Start, Subscription, SubscriptionSpec, Transport,
};

/// Checks each frame as it goes on the wire, so that a failure shows where it happened.
pub(crate) struct Reader {
    pub(crate) subscription: Subscription,
    filter: Filter,
    audience: Audience,
    encoding: Encoding,
    /// Every match up to here is in the byte stream.
    wired: u64,
    /// It began with a bare 0 and nothing is in the byte stream yet.
    from_oldest: bool,
    /// The newest seq committed when it subscribed.
    head_at_start: u64,
    page: Option<oneshot::Receiver<Result<Arc<Page>, ReadError>>>,
    pub(crate) resets: Vec<ResetReason>,
    pub(crate) frames: usize,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Wrote,
    Waits,
    Idle,
    Ended,
    Lagged,
}

pub(crate) fn filters() -> [(Filter, Audience); 4] {
    let types = |pattern| Filter::from_pairs([("types", pattern)], None).expect("valid");
    let own = tidings_core::Principal {
        grant: tidings_core::Grant {
            tenants: tidings_core::Tenants::One(crate::testing::tenant()),
            user: Some(tidings_core::UserId::new("ana").expect("valid")),
            scopes: "jobs:read:own events:read".parse().expect("valid"),
            subjects: None,
        },
        expires_at: None,
        credential: tidings_core::CredentialId::Key(tidings_core::KeyId::from_bytes([0; 16])),
    };
    [
        (Filter::default(), Audience::unlimited()),
        (types("a.*"), Audience::unlimited()),
        (types("never.*"), Audience::unlimited()),
        (Filter::default(), own.audience()),
    ]
}

impl Reader {
    pub(crate) fn new(world: &World, which: usize, start: Start) -> Self {
        let (filter, audience) = filters()[which % 4].clone();
        let transport = [Transport::WebSocket, Transport::Sse, Transport::ChunkedSse][which % 3];
        let encoding = Encoding { transport, verbosity: Verbosity::Minimal };
        let started_at = match &start {
            Start::Now => world.feed.head().get(),
            Start::After(cursor) => cursor.seq.get(),
        };
        let from_oldest = matches!(&start, Start::After(c) if c.epoch.is_none() && c.seq.get() == 0);
        let spec = SubscriptionSpec { filter: filter.clone(), audience: audience.clone(), encoding, start };
        let (subscription, reset) = world.subscribe(spec);
        let mut reader = Self {
            subscription,
            filter,
            audience,
            encoding,
            wired: started_at,
            from_oldest,
            head_at_start: world.head(),
            page: None,
            resets: Vec::new(),
            frames: 0,
        };
        if let Some(reset) = reset {
            reader.reset(world, &reset);
        }
        reader
    }

    pub(crate) fn set_types(&mut self, world: &World, pattern: &str) {
        self.check_cursor(world);
        // What was judged by the old filter is not judged again.
        self.wired = self.subscription.cursor().seq.get();
        self.filter = Filter::from_pairs([("types", pattern)], None).expect("valid");
        self.subscription.set_filter(self.filter.clone());
    }

    fn matches(&self, event: &Event) -> bool {
        self.audience.admits(&event.fact) && self.filter.matches(&event.fact)
    }

    /// Up to where, at most `limit`, nothing is due any more. Who asked for all that is kept and has had
    /// nothing yet misses nothing by what retention takes.
    fn settled(&self, world: &World, limit: u64) -> u64 {
        if self.from_oldest { self.wired.max(limit.min(world.oldest.saturating_sub(1))) } else { self.wired }
    }

    /// The first match after `seq`.
    fn next_match<'a>(&self, world: &'a World, seq: u64) -> Option<&'a Arc<Event>> {
        world.log.iter().skip(seq as usize).find(|event| self.matches(event))
    }

    /// What a heartbeat would say now must not pass a match that is not in the byte stream before it.
    pub(crate) fn check_cursor(&self, world: &World) {
        let cursor = self.subscription.cursor().seq.get();
        if let Some(undelivered) = self.next_match(world, self.settled(world, cursor)) {
            assert!(
                undelivered.seq.get() > cursor,
                "a heartbeat says {cursor}, and {} was never sent (all is up to {})",
                undelivered.seq,
                self.wired
            );
        }
    }

    /// One call of `next`. Of a batch, `written` thousandths go out before the socket refuses.
    pub(crate) fn step(
        &mut self,
        world: &World,
        batcher: &mut Batcher,
        max_bytes: usize,
        written: usize,
    ) -> Step {
        self.supply();
        if self.page.is_some() {
            return Step::Waits;
        }
        let before = self.subscription.cursor().seq;
        let step = match self.subscription.next(batcher, max_bytes) {
            Next::Batch(batch) => {
                let mut start = 0;
                let written = (batch.bytes.len() * written).div_ceil(1_000);
                // A frame that was begun is finished before all else; one that was not is sent again.
                let mut last = before;
                for frame in &*batch.frames {
                    if start >= written {
                        break;
                    }
                    self.wire(world, frame.seq.get(), &batch.bytes[start..frame.end as usize]);
                    (start, last) = (frame.end as usize, frame.seq);
                }
                if written < batch.bytes.len() {
                    self.subscription.rewind(last);
                }
                Step::Wrote
            }
            Next::Page(request) => {
                let pager = world.hub.pager().clone();
                let (answer, answered) = oneshot::channel();
                // The reader may be dropped before its page comes.
                tokio::spawn(async move { answer.send(pager.read(request).await) });
                self.page = Some(answered);
                Step::Waits
            }
            Next::Idle => Step::Idle,
            Next::Lagged { resume_from } => {
                assert_eq!(resume_from, self.subscription.cursor());
                Step::Lagged
            }
            Next::Reset(reset) => {
                self.reset(world, &reset);
                Step::Wrote
            }
            Next::Ended(_) => Step::Ended,
        };
        self.check_cursor(world);
        step
    }

    fn supply(&mut self) {
        let Some(answered) = &mut self.page else { return };
        if let Ok(page) = answered.try_recv() {
            self.page = None;
            self.subscription.supply(page);
        }
    }

    fn wire(&mut self, world: &World, seq: u64, bytes: &[u8]) {
        let settled = self.settled(world, seq - 1);
        let due = self.next_match(world, settled).expect("nothing is sent that is not in the log");
        assert_eq!(seq, due.seq.get(), "after {} the next match was due", self.wired);
        let frame = self.encoding.encode(world.feed.epoch(), due);
        assert_eq!(bytes, frame, "the frame of {seq} is not its bytes");
        self.wired = seq;
        self.from_oldest = false;
        self.frames += 1;
    }

    fn reset(&mut self, world: &World, reset: &Reset) {
        match reset.reason {
            ResetReason::Expired => assert!(self.wired + 1 < world.oldest, "nothing had expired"),
            ResetReason::Ahead => assert!(self.wired > self.head_at_start, "it was not ahead"),
            ResetReason::Epoch => {}
        }
        self.resets.push(reset.reason);
        self.wired = reset.oldest.prev().get();
        assert_eq!(self.subscription.cursor().seq.get(), self.wired);
    }

    /// Reads until nothing is due, with time passing while it waits.
    pub(crate) async fn drain(&mut self, world: &World, batcher: &mut Batcher) -> Step {
        for _ in 0..100_000 {
            match self.step(world, batcher, 1_500, 1_000) {
                Step::Wrote => {}
                Step::Waits => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                end => return end,
            }
        }
        panic!("it never comes to an end");
    }

    /// After a drain: everything was sent.
    pub(crate) fn check_complete(&self, world: &World) {
        assert_eq!(self.subscription.cursor().seq.get(), world.head());
        let settled = self.settled(world, world.head());
        assert_eq!(self.next_match(world, settled).map(|e| e.seq), None, "missed");
        assert!(self.subscription.is_live());
    }
}
