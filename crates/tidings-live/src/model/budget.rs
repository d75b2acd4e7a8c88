//! All rings together stay within the node's memory.

use std::sync::Arc;

use proptest::prelude::*;
use tidings_core::{Audience, Filter, Seq, TenantId, Verbosity};
use tidings_store::CommitSink as _;

use super::world::{run, small};
use crate::{
    Batcher, Encoding, FeedHandle, Hub, LiveConfig, Next, Slot, Start, Subscription, SubscriptionSpec,
    Transport,
    feed::RingRead,
    testing::{MemoryStore, event_of_size},
};

const BUDGET: usize = 40_000;

struct Tenant {
    id: TenantId,
    feed: FeedHandle,
    subscription: Subscription,
}

/// Reads all that is due, so that frames are made, and tells the seqs.
async fn read(hub: &Hub, tenant: &mut Tenant) -> Vec<Seq> {
    let mut seqs = Vec::new();
    loop {
        match tenant.subscription.next(&mut Batcher::new(), 10_000) {
            Next::Batch(batch) => seqs.extend(batch.frames.iter().map(|f| f.seq)),
            Next::Page(request) => tenant.subscription.supply(hub.pager().read(request).await),
            Next::Idle => return seqs,
            other => panic!("{other:?}"),
        }
    }
}

async fn tenants(hub: &Hub, store: &MemoryStore, count: usize) -> Vec<Tenant> {
    let mut tenants = Vec::new();
    for n in 0..count {
        let id = TenantId::new(format!("t{n}")).expect("valid");
        store.create(&id, "e1");
        let feed = hub.open(&id).await.expect("answers").expect("exists");
        let encoding = Encoding { transport: Transport::Sse, verbosity: Verbosity::Minimal };
        let spec = SubscriptionSpec {
            filter: Filter::default(),
            audience: Audience::unlimited(),
            encoding,
            start: Start::Now,
        };
        let subscription = Subscription::new(feed.clone(), spec).0;
        tenants.push(Tenant { id, feed, subscription });
    }
    tenants
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_budget_holds_whoever_is_busy(steps in proptest::collection::vec((0..5_usize, 1..6_u64, 200..3_000_usize, any::<bool>()), 1..80)) {
        run(async {
            let store = Arc::new(MemoryStore::default());
            let config = LiveConfig { ring_events: 1_024, budget_bytes: BUDGET, ..small() };
            let hub = Hub::start(store.clone(), config);
            let mut tenants = tenants(&hub, &store, 5).await;
            let mut last = vec![0; tenants.len()];
            for (who, events, size, reads) in steps {
                let tenant = &mut tenants[who];
                let new: Vec<_> =
                    (0..events).map(|_| store.append(&tenant.id, |seq| event_of_size(seq, size))).collect();
                hub.committed(&new, &[]);
                let held = hub.stats().ring_bytes;
                assert!(held <= BUDGET, "{held} bytes are held");
                if reads {
                    // Frames made since may pass the budget until the next commit.
                    for seq in read(&hub, tenant).await {
                        last[who] += 1;
                        assert_eq!(seq.get(), last[who], "what was given up is read from the log");
                    }
                }
            }
        });
    }
}

/// How many events the tenant's ring holds.
fn held(tenant: &Tenant) -> usize {
    let feed = tenant.feed.feed();
    let count = |from: u64| {
        let mut out = Vec::new();
        let read = feed.read_ring(Seq::new(from), usize::MAX, usize::MAX, &mut out);
        (read == RingRead::Covered).then_some(out.len())
    };
    (0..=feed.head().get()).find_map(count).expect("the head itself is always covered")
}

#[test]
fn the_oldest_of_the_node_goes_first() {
    run(async {
        let store = Arc::new(MemoryStore::default());
        let cost = Slot::cost(&event_of_size(1, 1_000));
        let config = LiveConfig { ring_events: 1_024, budget_bytes: cost * 10, ..small() };
        let hub = Hub::start(store.clone(), config);
        let tenants = tenants(&hub, &store, 3).await;
        let commit = |who: usize, size: usize| {
            hub.committed(&[store.append(&tenants[who].id, |seq| event_of_size(seq, size))], &[]);
        };
        // The first is quiet after five; the second goes on.
        (0..5).for_each(|_| commit(0, 1_000));
        (0..9).for_each(|_| commit(1, 1_000));
        assert!(held(&tenants[0]) <= 1, "the quiet one's are the oldest: {}", held(&tenants[0]));
        assert_eq!(held(&tenants[1]), 9, "the newest stay");
        // They take turns until each holds half; then one large event takes the room of several.
        (0..10).for_each(|n| commit(n % 2, 1_000));
        let before = (held(&tenants[0]), held(&tenants[1]));
        commit(2, 6_000);
        let gone = (before.0 - held(&tenants[0]), before.1 - held(&tenants[1]));
        assert!(gone.0 >= 2 && gone.0.abs_diff(gone.1) <= 1, "both give up the same: {gone:?}");
    });
}
