//! Filling a gap from the store.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidings_store::{EventPage, PageLimit, ReadError};

use super::{
    Ended, Feed,
    order::{Answer, Asked},
};

/// The longest pause between two tries while the store does not answer.
const RETRY_MAX: Duration = Duration::from_secs(1);

impl Feed {
    /// Starts the one repair; the caller has claimed it through `start_repair`.
    pub(crate) fn spawn_repair(self: &Arc<Self>) {
        let feed = self.clone();
        self.node.runtime.spawn(async move { feed.repair().await });
    }

    async fn repair(self: &Arc<Self>) {
        let mut pause = self.node.config.repair_delay;
        loop {
            tokio::time::sleep(pause).await;
            match self.repair_now().await {
                Ok(()) => return,
                Err(error) => {
                    pause = (pause * 2).clamp(Duration::from_millis(1), RETRY_MAX);
                    tracing::warn!(tenant = %self.tenant, %error, "reading a gap of a feed failed");
                }
            }
        }
    }

    /// Reads on until the tail has reached all that was heard of.
    async fn repair_now(self: &Arc<Self>) -> Result<(), ReadError> {
        let limit =
            PageLimit { events: self.node.config.page_events.max(1), bytes: self.node.config.page_bytes };
        loop {
            // Bound first: the lock must not live on into the await.
            let asked = self.order.lock().repair_from();
            let Some(asked) = asked else { return Ok(()) };
            match self.node.store.events(&self.tenant, asked.after, limit).await? {
                None => self.end(Ended::Gone),
                Some(page) if page.log.epoch != *self.epoch() => self.end(Ended::Renewed),
                Some(page) => self.fill(&asked, page),
            }
        }
    }

    fn fill(self: &Arc<Self>, asked: &Asked, page: EventPage) {
        self.raise_oldest(page.log.oldest);
        let answer = Answer { events: page.events, head: page.log.head, floor: page.log.oldest.prev() };
        let stamp = self.node.next_stamp();
        let mut gone = Vec::new();
        {
            let mut order = self.order.lock();
            order.repaired(asked, answer, |event| self.slot(event), stamp, &mut gone);
            self.head.store(order.tail().get(), Ordering::Release);
        }
        drop(gone);
        self.node.keep_budget();
        self.watchers.notify(self.id);
    }
}
