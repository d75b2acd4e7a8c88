//! Who is cut for being slow, and who is not.

use tidings_core::{Audience, Filter, Seq, Verbosity};

use super::world::{News, World, from, run, settle, small};
use crate::{
    Batcher, Encoding, LiveConfig, Next, SlowClients, Start, Subscription, SubscriptionSpec, Transport,
    testing::MemoryStore,
};

fn config(slow_clients: SlowClients) -> LiveConfig {
    LiveConfig { lag: Some(10), slow_clients, ring_events: 12, ..small() }
}

fn subscribe(world: &World, start: Start) -> Subscription {
    let encoding = Encoding { transport: Transport::WebSocket, verbosity: Verbosity::Minimal };
    let spec =
        SubscriptionSpec { filter: Filter::default(), audience: Audience::unlimited(), encoding, start };
    world.subscribe(spec).0
}

/// Takes one frame, if one is due, as a socket does that then refuses.
fn take_one(subscription: &mut Subscription) -> Next {
    let next = subscription.next(&mut Batcher::new(), 1);
    if let Next::Batch(batch) = &next {
        assert_eq!(batch.frames.len(), 1);
        subscription.refused();
    }
    next
}

#[test]
fn a_socket_that_takes_too_little_is_cut_at_the_limit() {
    run(async {
        let mut world = World::new(MemoryStore::default(), config(SlowClients::Disconnect), 3).await;
        let mut slow = subscribe(&world, Start::Now);
        world.commit(1, News::Told);
        assert!(matches!(take_one(&mut slow), Next::Batch(_)));
        world.commit(10, News::Told);
        assert_eq!((slow.lag(), slow.lagged()), (10, None), "the limit itself is allowed");
        world.commit(1, News::Told);
        let cut_at = slow.lagged().expect("past the limit");
        assert_eq!(cut_at.seq.get(), 4);
        let Next::Lagged { resume_from } = take_one(&mut slow) else { panic!("past the limit") };
        assert_eq!(resume_from, cut_at);
        assert_eq!(world.hub.stats().largest_lag, 0, "too little to be worth telling");
    });
}

#[test]
fn taking_a_little_now_and_then_does_not_help() {
    run(async {
        let mut world = World::new(MemoryStore::default(), config(SlowClients::Disconnect), 0).await;
        let mut slow = subscribe(&world, Start::Now);
        world.commit(1, News::Told);
        for round in 0..20 {
            match take_one(&mut slow) {
                Next::Batch(_) => world.commit(2, News::Told),
                Next::Lagged { resume_from } => {
                    assert_eq!(resume_from.seq.get(), round, "it took one a round");
                    assert!((10..=12).contains(&slow.lag()), "{}", slow.lag());
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("it was never cut");
    });
}

#[test]
fn a_burst_cuts_nobody() {
    run(async {
        let mut world = World::new(MemoryStore::default(), config(SlowClients::Disconnect), 0).await;
        let mut reader = subscribe(&world, Start::Now);
        for _ in 0..3 {
            world.commit(50, News::Told);
            // It is past the limit and past the ring, and each write is refused half-way.
            let mut taken = Vec::new();
            while taken.len() < 50 {
                match reader.next(&mut Batcher::new(), 2_000) {
                    Next::Batch(batch) => {
                        let half = batch.frames[batch.frames.len() / 2].seq;
                        taken.extend(batch.frames.iter().map(|f| f.seq).take_while(|s| *s <= half));
                        reader.rewind(half);
                        assert_eq!(reader.lagged(), None);
                    }
                    Next::Page(request) => {
                        let page = world.hub.pager().read(request).await;
                        reader.supply(page);
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(matches!(reader.next(&mut Batcher::new(), 2_000), Next::Idle));
        }
        assert_eq!(world.hub.stats().largest_lag, 50);
        assert_eq!(world.hub.stats().largest_lag, 0, "asking starts anew");
    });
}

#[test]
fn replay_does_not_count_and_live_reading_from_pages_does() {
    run(async {
        let mut world = World::new(MemoryStore::default(), config(SlowClients::Disconnect), 60).await;
        let mut reader = subscribe(&world, from(0));
        let mut batcher = Batcher::new();
        let mut replayed = 0;
        loop {
            match reader.next(&mut batcher, 2_000) {
                Next::Batch(batch) => {
                    replayed += batch.frames.len();
                    assert!(!reader.is_live());
                    reader.refused();
                    assert_eq!((reader.lag(), reader.lagged()), (0, None));
                }
                Next::Page(request) => reader.supply(world.hub.pager().read(request).await),
                Next::Idle => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((replayed, reader.is_live()), (60, true));
        // It falls off the ring while its socket takes a burst, and what comes meanwhile counts.
        world.commit(30, News::Told);
        let Next::Page(request) = reader.next(&mut batcher, 2_000) else { panic!("the ring holds 12") };
        reader.supply(world.hub.pager().read(request).await);
        assert!(matches!(reader.next(&mut batcher, 2_000), Next::Batch(_)));
        assert!(reader.is_live());
        reader.refused();
        world.commit(11, News::Told);
        assert!(matches!(reader.next(&mut batcher, 2_000), Next::Lagged { .. }));
    });
}

#[test]
fn a_returning_client_is_live_as_soon_as_the_ring_holds_what_it_needs() {
    run(async {
        let mut world = World::new(MemoryStore::default(), config(SlowClients::Disconnect), 8).await;
        world.commit(10, News::Told);
        let mut reader = subscribe(&world, from(0));
        let mut batcher = Batcher::new();
        while reader.cursor().seq.get() < 9 {
            match reader.next(&mut batcher, 1) {
                Next::Batch(batch) => assert_eq!(reader.is_live(), batch.frames[0].seq.get() > 8),
                Next::Page(request) => reader.supply(world.hub.pager().read(request).await),
                other => panic!("{other:?}"),
            }
        }
        // Others that find what it has made ready are live as well.
        let mut other = subscribe(&world, from(8));
        assert!(matches!(other.next(&mut batcher, 1), Next::Batch(_)));
        assert!(reader.is_live() && other.is_live());
    });
}

#[test]
fn where_slow_clients_are_caught_up_they_are_never_cut() {
    run(async {
        let mut world = World::new(MemoryStore::default(), config(SlowClients::CatchUp), 0).await;
        let mut slow = subscribe(&world, Start::Now);
        world.commit(1, News::Told);
        let mut expected = Seq::new(1);
        let mut fell_back = false;
        while expected.get() < 100 {
            match take_one(&mut slow) {
                Next::Batch(batch) => {
                    assert_eq!(batch.frames[0].seq, expected);
                    expected = expected.next();
                    if world.head() < 100 {
                        world.commit(3, News::Told);
                    }
                }
                Next::Page(request) => slow.supply(world.hub.pager().read(request).await),
                other => panic!("{other:?}"),
            }
            fell_back |= !slow.is_live();
            settle().await;
        }
        assert!(fell_back, "past the limit it counts as catching up");
    });
}
