//! Reading the log where the ring does not reach back far enough.

use std::sync::Arc;

use tidings_store::ReadError;

use super::{ResetReason, Subscription};
use crate::{Ended, Page, pager::Want};

/// After this many reads that failed one after the other, each at least a quarter of a second late,
/// the subscription ends.
const FAILURES_MAX: u32 = 40;

impl Subscription {
    /// A page that covers the cursor: the one supplied, or one from the cache unless one was used in
    /// this call already; then it asks, so that the thread gets to others in between.
    pub(super) fn take_page(&mut self, page_used: &mut bool) -> Result<Arc<Page>, Want> {
        let pager = &self.feed.feed().node.pager;
        let supplied = self.page.take().filter(|page| page.covers(self.cursor));
        let cached = || if *page_used { None } else { pager.cached(self.feed.id(), self.cursor) };
        let Some(page) = supplied.or_else(cached) else {
            let aligned = pager.page_start(self.cursor);
            let chained = self.page_start > aligned && self.page_start <= self.cursor;
            let start = if chained { self.page_start } else { aligned };
            return Err(Want::Events { start, cursor: self.cursor });
        };
        *page_used = true;
        Ok(page)
    }

    /// Takes the answer to [`Next::Page`](super::Next::Page).
    pub fn supply(&mut self, page: Result<Arc<Page>, ReadError>) {
        match page {
            Ok(page) if page.feed() == self.feed.id() => self.take(page),
            Ok(_) => debug_assert!(false, "a page of another feed was supplied"),
            Err(_) if self.feed.ended().is_some() => {}
            Err(ReadError::Corrupt(_)) => self.failed = Some(Ended::Unreadable),
            Err(ReadError::Unavailable(_)) => {
                self.failures += 1;
                if self.failures >= FAILURES_MAX {
                    self.failed = Some(Ended::Unavailable);
                }
            }
        }
    }

    fn take(&mut self, page: Arc<Page>) {
        self.failures = 0;
        let log = page.log();
        if self.from_oldest && self.cursor < page.from() {
            self.cursor = page.from();
        }
        if self.cursor < page.from() {
            // Retention has passed it: whether before it came or on its way makes no difference.
            self.reset = Some(self.start_over(ResetReason::Expired, log.oldest));
        } else if page.covers(self.cursor) {
            self.page = Some(page);
        } else if self.cursor < log.head {
            // Cut short by its bytes: what follows begins where it ends.
            self.page_start = page.through();
        } else if self.cursor > log.head.max(self.feed.head()) {
            let oldest = log.oldest;
            self.reset = Some(self.start_over(ResetReason::Ahead, oldest));
        } else {
            self.ahead_is_known = true;
        }
    }
}
