//! Catching up together.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tidings_core::{RawJson, Seq, TenantId};

use super::{
    reader::{Reader, Step},
    world::{News, World, from, run, settle, small},
};
use crate::{
    Batcher, Ended, FeedHandle, Hub, LiveConfig, Next, PageRequest,
    pager::Want,
    testing::{MemoryStore, event, event_of, tenant},
};

fn page(feed: &FeedHandle, start: u64) -> PageRequest {
    PageRequest { feed: feed.clone(), want: Want::Events { start: Seq::new(start), cursor: Seq::new(start) } }
}

#[test]
fn a_thousand_returning_clients_read_the_log_once() {
    run(async {
        let config =
            LiveConfig { page_events: 50, page_bytes: 1 << 20, page_cache_bytes: 4 << 20, ..small() };
        let world = World::new(MemoryStore::default(), config, 500).await;
        let mut readers: Vec<_> = (0..1_000).map(|n| Reader::new(&world, n, from(n as u64 % 3))).collect();
        let mut batcher = Batcher::new();
        while !readers.is_empty() {
            readers.retain_mut(|reader| reader.step(&world, &mut batcher, 20_000, 1_000) != Step::Idle);
            batcher.clear();
            settle().await;
        }
        assert_eq!(world.store.reads.load(Relaxed), 10);
        assert_eq!(world.hub.stats().pages_read, 10);
    });
}

#[test]
fn the_cache_keeps_its_bound() {
    run(async {
        let config = LiveConfig { page_cache_bytes: 20_000, ..small() };
        let world = World::new(MemoryStore::default(), config, 400).await;
        let mut readers: Vec<_> = (0..3).map(|n| Reader::new(&world, n, from(n as u64 * 50))).collect();
        let mut batcher = Batcher::new();
        let mut page = 0;
        loop {
            let steps = readers.iter_mut().map(|r| r.step(&world, &mut batcher, 1_000, 1_000));
            let idle = steps.filter(|step| *step == Step::Idle).count();
            batcher.clear();
            settle().await;
            // A page more than the bound for each reader that holds one.
            let held = world.hub.stats().page_bytes;
            page = page.max(held);
            assert!(held <= 20_000 + 3 * 8_000, "{held}");
            if idle == readers.len() {
                break;
            }
        }
        assert!(page > 10_000, "the bound was met");
    });
}

#[test]
fn one_far_behind_does_not_hold_up_another_tenant() {
    run(async {
        let store = Arc::new(MemoryStore::gated());
        let config = LiveConfig { page_readers: 1, ..small() };
        let (near, far) = (tenant(), TenantId::new("far").expect("valid"));
        for (id, events) in [(&near, 4), (&far, 400)] {
            store.create(id, "e1");
            (0..events).for_each(|_| drop(store.append(id, event)));
        }
        let hub = Hub::start(store.clone(), config);
        let far = hub.open(&far).await.expect("answers").expect("exists");
        let near = hub.open(&near).await.expect("answers").expect("exists");
        let read = |request| {
            let pager = hub.pager().clone();
            tokio::spawn(async move { pager.read(request).await })
        };
        let many: Vec<_> = (0..100).map(|n| read(page(&far, n * 4))).collect();
        settle().await;
        let one = read(page(&near, 0));
        settle().await;
        store.let_in(3);
        store.let_out(3);
        settle().await;
        assert!(one.is_finished(), "it waits for one turn of the other");
        assert_eq!(many.iter().filter(|task| task.is_finished()).count(), 2);
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_not_read() {
    run(async {
        let config = LiveConfig { page_readers: 1, ..small() };
        let world = World::new(MemoryStore::gated(), config, 40).await;
        let read = |start| {
            let pager = world.hub.pager().clone();
            let request = page(&world.feed, start);
            tokio::spawn(async move { pager.read(request).await })
        };
        let first = read(0);
        let gone = read(8);
        settle().await;
        gone.abort();
        let last = read(16);
        settle().await;
        world.store.let_in(9);
        world.store.let_out(9);
        assert!(first.await.expect("runs").is_ok() && last.await.expect("runs").is_ok());
        assert_eq!(world.store.reads.load(Relaxed), 2);
    });
}

#[test]
fn a_reader_that_goes_away_leaves_its_read_to_the_others() {
    run(async {
        let world = World::new(MemoryStore::gated(), small(), 40).await;
        let read = || {
            let pager = world.hub.pager().clone();
            let request = page(&world.feed, 0);
            tokio::spawn(async move { pager.read(request).await })
        };
        let first = read();
        settle().await;
        let second = read();
        settle().await;
        first.abort();
        world.store.let_in(1);
        world.store.let_out(1);
        assert!(second.await.expect("runs").is_ok());
    });
}

#[test]
fn who_asks_for_all_that_is_kept_is_told_of_no_loss() {
    for tell in [true, false] {
        run(async {
            let mut world = World::new(MemoryStore::default(), small(), 40).await;
            while world.oldest < 3 {
                world.retain(tell).await;
            }
            let mut reader = Reader::new(&world, 0, from(0));
            assert_eq!(reader.drain(&world, &mut Batcher::new()).await, Step::Idle);
            reader.check_complete(&world);
            assert_eq!(reader.resets, []);
            assert_eq!(reader.frames as u64, world.head() + 1 - world.oldest);
        });
    }
}

#[test]
fn a_store_that_stays_silent_ends_the_subscription_and_not_at_once() {
    run(async {
        let world = World::new(MemoryStore::default(), small(), 40).await;
        let mut reader = Reader::new(&world, 0, from(0));
        world.store.fail(30);
        let begin = tokio::time::Instant::now();
        assert_eq!(reader.drain(&world, &mut Batcher::new()).await, Step::Idle, "it came back in time");
        assert!(begin.elapsed() >= Duration::from_secs(7), "a failed read pauses: {:?}", begin.elapsed());

        let mut reader = Reader::new(&world, 0, from(0));
        world.hub.pager().forget(world.feed.id());
        world.store.fail(1_000);
        assert_eq!(reader.drain(&world, &mut Batcher::new()).await, Step::Ended);
        let next = reader.subscription.next(&mut Batcher::new(), 1_000);
        assert!(matches!(next, Next::Ended(Ended::Unavailable)));
        assert_eq!(world.feed.ended(), None, "the others may have what they need");
    });
}

#[test]
fn a_page_cut_short_by_its_bytes_is_followed_by_its_rest() {
    run(async {
        let config = LiveConfig { page_events: 8, page_bytes: 1, ..small() };
        let world = World::new(MemoryStore::default(), config, 30).await;
        let mut reader = Reader::new(&world, 0, from(0));
        assert_eq!(reader.drain(&world, &mut Batcher::new()).await, Step::Idle);
        assert_eq!(reader.frames, 30);
        // From the middle of a page, what lies before is read as well, and once.
        let mut reader = Reader::new(&world, 0, from(13));
        assert_eq!(reader.drain(&world, &mut Batcher::new()).await, Step::Idle);
        assert_eq!(reader.frames, 17);
        assert!(world.store.reads.load(Relaxed) < 60);
    });
}

#[test]
fn a_filter_that_matches_nothing_is_judged_a_page_at_a_time() {
    run(async {
        let mut world = World::new(MemoryStore::default(), small(), 40).await;
        let mut reader = Reader::new(&world, 2, from(0));
        let mut batcher = Batcher::new();
        assert_eq!(reader.drain(&world, &mut batcher).await, Step::Idle);
        // Another one finds pages in the cache, and is still asked to wait between them.
        let mut again = Reader::new(&world, 2, from(20));
        batcher.clear();
        let before = again.subscription.cursor().seq.get();
        assert_eq!(again.step(&world, &mut batcher, 1_000, 1_000), Step::Waits);
        assert!(again.subscription.cursor().seq.get() <= before + 8);
        assert_eq!(again.drain(&world, &mut batcher).await, Step::Idle);
        again.check_complete(&world);
        // A change of filter holds from the cursor on.
        again.set_types(&world, "a.*");
        world.commit(5, News::Told);
        assert_eq!(again.drain(&world, &mut batcher).await, Step::Idle);
        again.check_complete(&world);
    });
}

#[test]
fn subscriptions_at_one_place_share_one_buffer() {
    run(async {
        let mut world = World::new(MemoryStore::default(), small(), 0).await;
        let mut readers: Vec<_> = (0..8).map(|n| Reader::new(&world, n % 3, crate::Start::Now)).collect();
        let event =
            world.store.append(&tenant(), |seq| event_of("a.made", Some("ana"), seq, RawJson::null()));
        world.log.push(event.clone());
        tidings_store::CommitSink::committed(&world.hub, &[event], &[]);
        let mut batcher = Batcher::new();
        let mut buffers = Vec::new();
        for reader in readers.iter_mut().step_by(3) {
            let Next::Batch(batch) = reader.subscription.next(&mut batcher, 1_000) else { panic!("due") };
            buffers.push(batch.bytes.as_ptr());
        }
        buffers.dedup();
        assert_eq!(buffers.len(), 1, "one buffer for all at one place");
    });
}
