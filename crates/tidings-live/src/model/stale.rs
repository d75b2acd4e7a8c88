//! A store that is out of reach: what its feeds say, and when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    time::Duration,
};

use super::world::{run, settle, small};
use crate::{
    Ended, FeedHandle, FeedId, Hub, Watcher,
    testing::{MemoryStore, event, tenant},
};

#[derive(Default)]
struct Count(AtomicUsize);

impl Watcher for Count {
    fn advanced(&self, _: FeedId) {
        self.0.fetch_add(1, SeqCst);
    }
}

async fn start(store: MemoryStore) -> (Arc<MemoryStore>, Hub, FeedHandle) {
    let store = Arc::new(store);
    store.create(&tenant(), "e1");
    let hub = Hub::start(store.clone(), small());
    let feed = hub.open(&tenant()).await.expect("answers").expect("exists");
    tokio::time::sleep(Duration::from_secs(10)).await;
    (store, hub, feed)
}

#[test]
fn a_feed_is_stale_after_five_seconds_and_ends_after_thirty() {
    run(async {
        let (store, hub, feed) = start(MemoryStore::shared()).await;
        let watcher = Arc::new(Count::default());
        let _watch = feed.watch(watcher.clone());
        assert_eq!(feed.stale_for(), None);
        store.down.store(true, Relaxed);
        tokio::time::sleep(Duration::from_millis(4_900)).await;
        assert_eq!((feed.stale_for(), watcher.0.load(SeqCst)), (None, 0));
        tokio::time::sleep(Duration::from_millis(500)).await;
        let age = feed.stale_for().expect("stale").as_millis();
        assert!((5_250..=5_450).contains(&age), "{age} ms");
        assert_eq!((watcher.0.load(SeqCst), hub.stats().stale_feeds), (1, 1), "told once");
        tokio::time::sleep(Duration::from_secs(24)).await;
        assert_eq!((feed.ended(), watcher.0.load(SeqCst)), (None, 1));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((feed.ended(), watcher.0.load(SeqCst)), (Some(Ended::Unconfirmed), 2));
        assert!(hub.open(&tenant()).await.is_err(), "the next one asks the store");
        store.down.store(false, Relaxed);
        assert!(hub.open(&tenant()).await.expect("answers").is_some());
    });
}

#[test]
fn a_store_that_answers_again_makes_it_fresh() {
    run(async {
        let (store, hub, feed) = start(MemoryStore::shared()).await;
        store.down.store(true, Relaxed);
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(feed.stale_for().is_some());
        store.down.store(false, Relaxed);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!((feed.stale_for(), hub.stats().stale_feeds), (None, 0));
        assert!(hub.unconfirmed_for().expect("shared") < Duration::from_millis(60));
    });
}

#[test]
fn a_gap_that_cannot_be_read_makes_its_feed_stale_though_the_store_tells_what_moves() {
    run(async {
        let (store, hub, feed) = start(MemoryStore::shared()).await;
        store.fail(usize::MAX >> 1);
        store.append(&tenant(), event);
        tokio::time::sleep(Duration::from_millis(5_600)).await;
        assert!(feed.stale_for().is_some());
        assert!(hub.unconfirmed_for().expect("shared") < Duration::from_millis(60), "the polls succeed");
    });
}

#[test]
fn one_that_opens_while_the_store_does_not_tell_what_moves_counts_from_its_own_look() {
    run(async {
        let (store, hub, feed) = start(MemoryStore::shared()).await;
        drop(feed);
        store.down.store(true, Relaxed);
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(hub.stats().feeds, 0);
        store.down.store(false, Relaxed);
        let feed = hub.open(&tenant()).await.expect("answers").expect("exists");
        store.down.store(true, Relaxed);
        settle().await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!((feed.stale_for(), feed.ended()), (None, None));
        tokio::time::sleep(Duration::from_millis(1_700)).await;
        assert!(feed.stale_for().is_some());
    });
}

#[test]
fn where_one_process_alone_writes_nothing_is_ever_stale() {
    run(async {
        let (store, hub, feed) = start(MemoryStore::default()).await;
        store.down.store(true, Relaxed);
        tokio::time::sleep(Duration::from_mins(2)).await;
        assert_eq!((feed.stale_for(), feed.ended(), hub.unconfirmed_for()), (None, None, None));
        assert_eq!(store.polls.load(Relaxed), 0);
    });
}
