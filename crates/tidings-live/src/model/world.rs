//! A log in memory, a hub over it, and the ways in which news of a commit can go astray.

use std::{sync::Arc, time::Duration};

use tidings_core::{Event, RawJson, Seq};
use tidings_store::CommitSink as _;

use crate::{
    FeedHandle, Hub, LiveConfig, Start, Subscription, SubscriptionSpec,
    testing::{MemoryStore, event_of, tenant},
};

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) hub: Hub,
    pub(crate) feed: FeedHandle,
    /// Every event ever committed, those that retention took as well.
    pub(crate) log: Vec<Arc<Event>>,
    pub(crate) oldest: u64,
    /// Committed, and the hub not yet told.
    pub(crate) delayed: Vec<Arc<Event>>,
}

/// What becomes of the news of a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum News {
    Told,
    ToldTwice,
    Delayed,
    Lost,
}

impl World {
    /// With `history` events before the feed is opened.
    pub(crate) async fn new(store: MemoryStore, config: LiveConfig, history: u64) -> Self {
        let store = Arc::new(store);
        store.create(&tenant(), "e1");
        let mut log = Vec::new();
        for _ in 0..history {
            log.push(store.append(&tenant(), made));
        }
        let hub = Hub::start(store.clone(), config);
        let feed = hub.open(&tenant()).await.expect("the store answers").expect("the tenant exists");
        Self { store, hub, feed, log, oldest: 1, delayed: Vec::new() }
    }

    pub(crate) fn commit(&mut self, events: usize, news: News) {
        let from = self.log.len();
        for _ in 0..events {
            self.log.push(self.store.append(&tenant(), made));
        }
        let new = &self.log[from..];
        match news {
            News::Told => self.hub.committed(new, &[]),
            News::ToldTwice => {
                self.hub.committed(new, &[]);
                self.hub.committed(new, &[]);
            }
            News::Delayed => self.delayed.extend_from_slice(new),
            News::Lost => {}
        }
    }

    /// Tells one delayed event, whichever `pick` falls on.
    pub(crate) fn tell_delayed(&mut self, pick: usize) {
        if !self.delayed.is_empty() {
            let event = self.delayed.swap_remove(pick % self.delayed.len());
            self.hub.committed(&[event], &[]);
        }
    }

    /// Retention takes the older half of what is kept.
    pub(crate) async fn retain(&mut self, tell: bool) {
        self.oldest += (self.head() + 1 - self.oldest) / 2;
        self.store.retain(&tenant(), self.oldest);
        if tell {
            self.hub.look_again().await;
            assert_eq!(self.feed.oldest().get(), self.oldest);
        }
    }

    pub(crate) fn head(&self) -> u64 {
        self.log.len() as u64
    }

    pub(crate) fn subscribe(&self, spec: SubscriptionSpec) -> (Subscription, Option<crate::Reset>) {
        Subscription::new(self.feed.clone(), spec)
    }
}

/// Kinds, owners and sizes that differ, the same for the same seq.
pub(crate) fn made(seq: u64) -> Event {
    let kind = ["a.made", "b.made", "job.queued", "a.gone"][(seq * 7 / 3 % 4) as usize];
    let owner = ["ana", "ben"][(seq / 2 % 2) as usize];
    event_of(kind, Some(owner), seq, RawJson::from_value(&"x".repeat((seq * 37 % 300) as usize)))
}

/// A ring of a few events, pages of a few events, so that every seam is met often.
pub(crate) fn small() -> LiveConfig {
    LiveConfig {
        ring_events: 6,
        page_events: 4,
        page_bytes: 2_600,
        page_cache_bytes: 12_000,
        lag: None,
        repair_delay: Duration::from_millis(20),
        ..LiveConfig::default()
    }
}

pub(crate) fn from(seq: u64) -> Start {
    Start::After(tidings_core::Cursor::bare(Seq::new(seq)))
}

/// Runs on a runtime whose time passes when nothing else can.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime starts").block_on(test)
}

/// Lets every task go as far as it can without time passing.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
