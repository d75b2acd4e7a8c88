//! What goes into a feed, and the life of one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use tidings_core::{Audience, Cursor, Epoch, Filter, Seq, Verbosity};
use tidings_store::CommitSink as _;

use super::{
    reader::{Reader, Step},
    world::{News, World, from, run, settle, small},
};
use crate::{
    Batcher, Encoding, Ended, FeedHandle, FeedId, Hub, LiveConfig, Next, ResetReason, Start, Subscription,
    SubscriptionSpec, Transport, Watcher,
    testing::{MemoryStore, event, tenant},
};

#[derive(Default)]
struct Count(AtomicUsize);

impl Watcher for Count {
    fn advanced(&self, _: FeedId) {
        self.0.fetch_add(1, SeqCst);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Each commit is told at once, later in any order, twice, or never; some are told again much later.
    #[test]
    fn news_in_any_order_make_the_log(
        history in 0..5_u64,
        news in vec((1..4_usize, 0..4_usize, any::<usize>(), 0..30_u64), 1..60),
    ) {
        run(async {
            let mut world = World::new(MemoryStore::default(), small(), history).await;
            let mut reader = Reader::new(&world, 0, Start::Now);
            let mut batcher = Batcher::new();
            for (events, kind, pick, pass) in news {
                world.commit(events, [News::Told, News::ToldTwice, News::Delayed, News::Lost][kind]);
                world.tell_delayed(pick);
                let again = world.log[pick % world.log.len()].clone();
                world.hub.committed(&[again], &[]);
                tokio::time::advance(Duration::from_millis(pass)).await;
                settle().await;
                while reader.step(&world, &mut batcher, 1_000, 1_000) == Step::Wrote {}
            }
            world.commit(1, News::Told);
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(reader.drain(&world, &mut batcher).await, Step::Idle);
            reader.check_complete(&world);
        });
    }
}

#[test]
fn a_gap_is_read_after_the_delay_and_not_before() {
    run(async {
        let mut world = World::new(MemoryStore::default(), small(), 0).await;
        let watcher = Arc::new(Count::default());
        let _watch = world.feed.watch(watcher.clone());
        world.commit(1, News::Lost);
        world.commit(1, News::Told);
        tokio::time::sleep(Duration::from_millis(19)).await;
        assert_eq!((world.feed.head().get(), watcher.0.load(SeqCst)), (0, 0));
        tokio::time::sleep(Duration::from_millis(3)).await;
        assert_eq!((world.feed.head().get(), watcher.0.load(SeqCst)), (2, 1));
    });
}

#[test]
fn a_gap_is_read_again_while_the_store_fails() {
    run(async {
        let mut world = World::new(MemoryStore::default(), small(), 0).await;
        world.store.fail(3);
        world.commit(1, News::Lost);
        world.commit(1, News::Told);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(world.feed.head().get(), 2);
    });
}

#[test]
fn events_of_another_history_end_the_feed() {
    run(async {
        let mut world = World::new(MemoryStore::default(), small(), 3).await;
        world.commit(2, News::Told);
        let mut reader = Reader::new(&world, 0, Start::Now);
        let mut batcher = Batcher::new();
        world.store.create(&tenant(), "e2");
        let stranger = world.store.append(&tenant(), |seq| {
            let mut event = event(seq);
            event.fact.id = tidings_core::EventId::from_bytes([7; 16]);
            event
        });
        world.hub.committed(&[stranger], &[]);
        assert_eq!(
            reader.step(&world, &mut batcher, 1_000, 1_000),
            Step::Idle,
            "it is no event of this history"
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(world.feed.ended(), Some(Ended::Renewed));
        assert_eq!(reader.step(&world, &mut batcher, 1_000, 1_000), Step::Ended);

        let feed = world.hub.open(&tenant()).await.expect("answers").expect("exists");
        assert_eq!((feed.epoch().as_str(), feed.head().get()), ("e2", 1));
        world.feed = feed;
        let old = Cursor::new(Epoch::parse("e1").expect("valid"), Seq::new(1));
        let reader = Reader::new(&world, 0, Start::After(old));
        assert_eq!(reader.resets, [ResetReason::Epoch]);
    });
}

#[test]
fn a_page_of_another_history_ends_the_feed() {
    run(async {
        let world = World::new(MemoryStore::default(), small(), 9).await;
        let mut reader = Reader::new(&world, 0, from(2));
        world.store.create(&tenant(), "e2");
        assert_eq!(reader.drain(&world, &mut Batcher::new()).await, Step::Ended);
        assert_eq!(world.feed.ended(), Some(Ended::Renewed));
    });
}

#[test]
fn closing_tells_every_subscription() {
    run(async {
        let mut world = World::new(MemoryStore::default(), small(), 3).await;
        let watcher = Arc::new(Count::default());
        let _watch = world.feed.watch(watcher.clone());
        let mut reader = Reader::new(&world, 0, Start::Now);
        world.commit(1, News::Told);
        world.hub.close_feed(&tenant());
        assert_eq!(watcher.0.load(SeqCst), 2);
        assert_eq!(reader.step(&world, &mut Batcher::new(), 1_000, 1_000), Step::Ended);
        assert_eq!(world.hub.stats().ring_bytes, 0);
        world.store.delete(&tenant());
        assert!(world.hub.open(&tenant()).await.expect("answers").is_none());
        assert_eq!(world.hub.stats().feeds, 0);
    });
}

#[test]
fn a_feed_lingers_after_its_last_handle() {
    run(async {
        let mut world = World::new(MemoryStore::default(), small(), 0).await;
        let id = world.feed.id();
        let other = MemoryStore::default();
        let other = World::new(other, small(), 0).await;
        // Somebody leaves and comes back within the time.
        drop(std::mem::replace(&mut world.feed, other.feed.clone()));
        tokio::time::sleep(Duration::from_secs(25)).await;
        world.commit(1, News::Told);
        let back = world.hub.open(&tenant()).await.expect("answers").expect("exists");
        assert_eq!((back.id(), back.head().get()), (id, 1), "it went on meanwhile");
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(world.hub.stats().feeds, 1, "a held feed stays");
        drop(back);
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(world.hub.stats().feeds, 0);
        assert_ne!(world.hub.open(&tenant()).await.expect("answers").expect("exists").id(), id);
    });
}

#[test]
fn what_is_committed_while_a_feed_opens_is_not_missed() {
    for told_before_the_head_is_read in [true, false] {
        run(async move {
            let store = Arc::new(MemoryStore::default());
            store.create(&tenant(), "e1");
            let hub = Hub::start(store.clone(), LiveConfig::default());
            let opening = tokio::spawn({
                let hub = hub.clone();
                async move { hub.open(&tenant()).await }
            });
            if told_before_the_head_is_read {
                hub.committed(&[store.append(&tenant(), event)], &[]);
            }
            // The store has been asked and has not answered yet.
            tokio::task::yield_now().await;
            hub.committed(&[store.append(&tenant(), event)], &[]);
            let feed = opening.await.expect("runs").expect("answers").expect("exists");
            let all = if told_before_the_head_is_read { 2 } else { 1 };
            assert_eq!(feed.head().get(), all, "without waiting for a repair");
        });
    }
}

#[test]
fn a_thousand_who_open_a_feed_at_once_share_it() {
    run(async {
        let store = Arc::new(MemoryStore::default());
        store.create(&tenant(), "e1");
        let hub = Hub::start(store, LiveConfig::default());
        let open = |_| {
            let hub = hub.clone();
            tokio::spawn(async move { hub.open(&tenant()).await })
        };
        let opening: Vec<_> = (0..1_000).map(open).collect();
        let mut ids = Vec::new();
        for task in opening {
            ids.push(task.await.expect("runs").expect("answers").expect("exists").id());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1);
    });
}

/// A thread that sleeps until its watcher is told.
struct Sleeper {
    thread: std::thread::Thread,
    told: AtomicBool,
}

impl Watcher for Sleeper {
    fn advanced(&self, _: FeedId) {
        if !self.told.swap(true, SeqCst) {
            self.thread.unpark();
        }
    }
}

fn read_asleep(feed: &FeedHandle, spec: SubscriptionSpec, events: u64) {
    let sleeper = Arc::new(Sleeper { thread: std::thread::current(), told: AtomicBool::new(false) });
    let _watch = feed.watch(sleeper.clone());
    let mut subscription = Subscription::new(feed.clone(), spec).0;
    let mut batcher = Batcher::new();
    let mut seen = 0;
    while seen < events {
        match subscription.next(&mut batcher, 4_000) {
            Next::Batch(batch) => {
                for frame in &*batch.frames {
                    seen += 1;
                    assert_eq!(frame.seq.get(), seen);
                }
            }
            Next::Idle => {
                batcher.clear();
                let deadline = std::time::Instant::now() + Duration::from_secs(20);
                while !sleeper.told.swap(false, SeqCst) {
                    let left = deadline.saturating_duration_since(std::time::Instant::now());
                    assert!(!left.is_zero(), "nobody told of what comes after {seen}");
                    std::thread::park_timeout(left);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn threads_that_sleep_until_they_are_told_miss_nothing() {
    const EVENTS: u64 = 5_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    let store = Arc::new(MemoryStore::default());
    store.create(&tenant(), "e1");
    let (hub, feed) = runtime.block_on(async {
        let hub =
            Hub::start(store.clone(), LiveConfig { ring_events: 1 << 16, ring_bytes: 1 << 30, ..small() });
        let feed = hub.open(&tenant()).await.expect("answers").expect("exists");
        (hub, feed)
    });
    std::thread::scope(|threads| {
        for transport in [Transport::WebSocket, Transport::WebSocket, Transport::Sse] {
            let feed = feed.clone();
            let spec = SubscriptionSpec {
                filter: Filter::default(),
                audience: Audience::unlimited(),
                encoding: Encoding { transport, verbosity: Verbosity::Minimal },
                start: from(0),
            };
            threads.spawn(move || read_asleep(&feed, spec, EVENTS));
        }
        for n in 0..EVENTS {
            hub.committed(&[store.append(&tenant(), event)], &[]);
            // Now and then everybody falls asleep.
            if n % 64 == 0 {
                std::thread::yield_now();
            }
        }
    });
}
