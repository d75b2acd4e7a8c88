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
/// How often a gap that moves is waited for before it is read.
const ROUNDS: usize = 5;

impl Feed {
    /// Starts the one repair; the caller has claimed it through `start_repair`.
    pub(crate) fn spawn_repair(self: &Arc<Self>) {
        let feed = self.clone();
        self.node.runtime.spawn(async move { feed.repair().await });
    }

    async fn repair(self: &Arc<Self>) {
        let mut pause = self.node.config.repair_delay;
        self.wait_for_a_lasting_gap().await;
        while let Err(error) = self.repair_now().await {
            pause = (pause * 2).clamp(Duration::from_millis(1), RETRY_MAX);
            tracing::warn!(tenant = %self.tenant, %error, "reading a gap of a feed failed");
            tokio::time::sleep(pause).await;
        }
    }

    /// Gives a gap the time to fill itself. Where the tail moves meanwhile, what is missing now has not
    /// been missing for long.
    async fn wait_for_a_lasting_gap(&self) {
        let delay = self.node.gap_delay();
        for _ in 0..ROUNDS {
            let tail = self.head();
            if delay.is_zero() {
                return;
            }
            tokio::time::sleep(delay).await;
            if self.head() == tail || !self.order.lock().needs_repair() {
                return;
            }
        }
    }

    /// Reads on until the tail has reached all that was heard of.
    async fn repair_now(self: &Arc<Self>) -> Result<(), ReadError> {
        let limit =
            PageLimit { events: self.node.config.page_events.max(1), bytes: self.node.config.page_bytes };
        let mut asked_at = None;
        loop {
            let Some(asked) = self.what_to_ask(asked_at) else { return Ok(()) };
            let _turn = self.node.readers.acquire().await.expect("the semaphore is never closed");
            asked_at = Some(self.node.now());
            match self.node.store.events(&self.tenant, asked.after, limit).await? {
                None => self.end(Ended::Gone),
                Some(page) if page.log.epoch != *self.epoch() => self.end(Ended::Renewed),
                Some(page) => self.fill(&asked, page),
            }
        }
    }

    /// What a repair has to read now. `None`: nothing, since the look at `asked_at` if there was one.
    fn what_to_ask(&self, asked_at: Option<u64>) -> Option<Asked> {
        let mut order = self.order.lock();
        let asked = order.repair_from();
        if asked.is_none() {
            if let Some(asked_at) = asked_at {
                self.confirm(asked_at);
            }
            self.caught_up();
        }
        asked
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
