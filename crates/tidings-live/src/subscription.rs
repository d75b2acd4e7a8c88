//! One reader's way through a feed.

mod catch_up;
mod collect;
mod lag;
mod reset;

use std::sync::Arc;

use tidings_core::{Audience, Cursor, Filter, Seq};

use crate::{
    Batch, Batcher, Encoding, Ended, FeedHandle, Page, PageRequest, batch::Place, feed::RingRead,
    pager::Want, view::View,
};
pub use collect::{Collected, Due, Form};
use lag::Lag;
pub use reset::{Reset, ResetReason};

/// Where a subscription begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With the next event.
    Now,
    After(Cursor),
}

/// What a subscriber asked for.
#[derive(Debug, Clone)]
pub struct SubscriptionSpec {
    pub filter: Filter,
    pub audience: Audience,
    pub encoding: Encoding,
    pub start: Start,
}

/// A cursor into a feed, and what lies between it and the head: every match after the start, in order,
/// once, or a [`Reset`] that says why not. It is driven by one thread, holds nothing per event and
/// never waits.
#[derive(Debug)]
pub struct Subscription {
    feed: FeedHandle,
    view: Arc<View>,
    encoding: Encoding,
    /// Everything up to here has been judged, and every match of it handed out.
    cursor: Seq,
    lag: Lag,
    /// A page that was supplied and not yet used.
    page: Option<Arc<Page>>,
    /// Where the next page begins, where a shorter one than usual ended there.
    page_start: Seq,
    /// The store knows events up to a cursor that is ahead of the feed: they are on their way.
    ahead_is_known: bool,
    /// It asked for all that is kept and has had nothing yet: what retention takes meanwhile is no loss.
    from_oldest: bool,
    reset: Option<Reset>,
    /// Reads that failed one after the other.
    failures: u32,
    failed: Option<Ended>,
}

/// What a subscription has to say.
#[derive(Debug)]
pub enum Next {
    /// To be written; then ask again.
    Batch(Batch),
    /// Give this to [`Pager::read`](crate::Pager::read), its answer to [`Subscription::supply`], then
    /// ask again. Asking earlier yields the same request.
    Page(PageRequest),
    /// Nothing is due until the feed's watcher is told.
    Idle,
    /// It is too far behind; asking again says so again until it is not.
    Lagged { resume_from: Cursor },
    /// Something between the cursor and the oldest kept event will not come; it goes on from there.
    Reset(Reset),
    /// Nothing more comes.
    Ended(Ended),
}

impl Subscription {
    /// A start that does not fit yields a reset at once, if this node can tell; what only the store
    /// can tell comes as [`Next::Reset`].
    pub fn new(feed: FeedHandle, spec: SubscriptionSpec) -> (Self, Option<Reset>) {
        let head = feed.head();
        let views = &feed.feed().node.views;
        let view = views.get(spec.filter, spec.audience);
        let lag = if spec.start == Start::Now { Lag::live() } else { Lag::catching_up() };
        let mut subscription = Self {
            view,
            encoding: spec.encoding,
            cursor: head,
            lag,
            page: None,
            page_start: Seq::ZERO,
            ahead_is_known: false,
            from_oldest: false,
            reset: None,
            failures: 0,
            failed: None,
            feed,
        };
        let reset = match spec.start {
            Start::Now => None,
            Start::After(cursor) => subscription.start_after(&cursor),
        };
        (subscription, reset)
    }

    /// What is due now. A batch has at most `max_bytes` bytes, or one frame. Call it until it is
    /// [`Next::Idle`], or the socket takes no more: that it was idle is how a subscription knows that it
    /// has caught up. One call judges at most one page of the log or one ring.
    pub fn next(&mut self, batcher: &mut Batcher, max_bytes: usize) -> Next {
        if let Some(ended) = self.ended() {
            return Next::Ended(ended);
        }
        if let Some(reset) = self.reset.take() {
            return Next::Reset(reset);
        }
        let mut page_used = false;
        loop {
            let head = self.feed.head();
            if self.cursor >= head {
                return self.at_head(head);
            }
            if let Some(resume_from) = self.judge_lag(head) {
                return Next::Lagged { resume_from };
            }
            let place = self.place();
            let batch = match batcher.get(&place, max_bytes) {
                Some(batch) => batch,
                None => match self.assemble(batcher, max_bytes, &mut page_used) {
                    Ok(batch) => {
                        batcher.remember(place, &batch);
                        batch
                    }
                    Err(want) => return Next::Page(PageRequest { feed: self.feed.clone(), want }),
                },
            };
            debug_assert!(batch.through > self.cursor, "every batch goes on");
            self.cursor = batch.through;
            if batch.live {
                self.lag.joined();
            }
            if !batch.is_empty() {
                self.from_oldest = false;
                return Next::Batch(batch);
            }
        }
    }

    fn ended(&self) -> Option<Ended> {
        self.failed.or_else(|| self.feed.ended())
    }

    fn place(&self) -> Place {
        Place { feed: self.feed.id(), cursor: self.cursor, view: self.view.id, encoding: self.encoding }
    }

    fn at_head(&mut self, head: Seq) -> Next {
        if self.cursor > head && !self.ahead_is_known {
            return Next::Page(PageRequest {
                feed: self.feed.clone(),
                want: Want::Head { cursor: self.cursor },
            });
        }
        self.page = None;
        self.lag.caught_up();
        Next::Idle
    }

    /// What comes next, from the ring if it reaches back to the cursor, else from a page.
    fn assemble(
        &mut self,
        batcher: &mut Batcher,
        max_bytes: usize,
        page_used: &mut bool,
    ) -> Result<Batch, Want> {
        let slots = &mut batcher.scratch;
        // A filtered reader may have to look at many bytes for one match. For the others twice is
        // enough: a slot costs less than two frames.
        let bytes = if self.view.is_everything() { max_bytes.saturating_mul(2) } else { usize::MAX };
        match self.feed.feed().read_ring(self.cursor, usize::MAX, bytes, slots) {
            RingRead::Covered => {
                self.page = None;
                let through = slots.last().map_or(self.cursor, |slot| slot.seq());
                let found = slots.iter().map(|slot| &**slot);
                let batch = Batch::assemble(found, through, &self.view, self.encoding, max_bytes);
                slots.clear();
                Ok(Batch { live: true, ..batch })
            }
            RingRead::Behind => {
                let page = self.take_page(page_used)?;
                let found = page.after(self.cursor).iter();
                Ok(Batch::assemble(found, page.through(), &self.view, self.encoding, max_bytes))
            }
        }
    }

    /// The caller wrote frames of the last batch up to and including that of `to`, or began to write
    /// that one and will finish it before all else; the socket takes no more. It goes on after `to`,
    /// which is a seq of the last batch, or the cursor's before it where nothing was written.
    pub fn rewind(&mut self, to: Seq) {
        debug_assert!(to <= self.cursor, "a rewind goes back");
        self.cursor = to.min(self.cursor);
        self.refused();
    }

    /// The socket takes no more for now. What is appended until the next [`next`](Self::next) counts
    /// against the lag limit; without a call of this or of [`rewind`](Self::rewind) nothing does, so
    /// that a server that is late itself cuts nobody.
    pub fn refused(&mut self) {
        self.lag.refused(self.feed.head());
    }

    /// How far it has been judged: every match up to here was handed out, and is not again.
    pub fn cursor(&self) -> Cursor {
        Cursor::new(self.feed.epoch().clone(), self.cursor)
    }

    pub fn head(&self) -> Seq {
        self.feed.head()
    }

    pub fn feed(&self) -> &FeedHandle {
        &self.feed
    }

    pub fn filter(&self) -> &Filter {
        self.view.filter()
    }

    /// Applies to everything after the cursor.
    pub fn set_filter(&mut self, filter: Filter) {
        self.view = self.feed.feed().node.views.get(filter, self.view.audience().clone());
    }

    /// Applies to everything after the cursor.
    pub fn set_audience(&mut self, audience: Audience) {
        self.view = self.feed.feed().node.views.get(self.view.filter().clone(), audience);
    }
}
