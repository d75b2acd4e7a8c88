//! Two nodes on one store, both committing to one tenant, and what a bus may do to their news.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use tidings_core::{Epoch, Seq, TenantId};
use tidings_store::{CommitSink as _, Store as _};

use super::{
    reader::{Reader, Step},
    world::{World, from, made, run, settle, small},
};
use crate::{
    Batcher, Ended, Hub, LiveConfig, News, Start,
    testing::{MemoryStore, Wire, WireBus, event, tenant},
};

/// A store, a wire, and nodes with a feed each.
struct Nodes {
    store: Arc<MemoryStore>,
    wire: Arc<Wire>,
    buses: Vec<Arc<WireBus>>,
    worlds: Vec<World>,
}

fn epochs(name: &str) -> [(TenantId, Epoch); 1] {
    [(tenant(), Epoch::parse(name).expect("valid"))]
}

impl Nodes {
    async fn start(count: usize, config: LiveConfig) -> Self {
        let (store, wire) = (Arc::new(MemoryStore::shared()), Arc::new(Wire::default()));
        store.create(&tenant(), "e1");
        let (mut worlds, mut buses) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let bus = wire.bus();
            let hub = Hub::with_bus(store.clone(), config.clone(), bus.clone());
            let feed = hub.open(&tenant()).await.expect("answers").expect("exists");
            let (store, log, delayed) = (store.clone(), Vec::new(), Vec::new());
            worlds.push(World { store, hub, feed, log, oldest: 1, delayed });
            buses.push(bus);
        }
        Self { store, wire, buses, worlds }
    }

    fn connect(&self, connected: bool) {
        for bus in &self.buses {
            bus.connected.send_replace(connected);
        }
    }

    /// One node's commit: told to its own feed and handed to its bus.
    fn commit(&mut self, node: usize, events: usize) {
        let new: Vec<_> = (0..events).map(|_| self.store.append(&tenant(), made)).collect();
        for world in &mut self.worlds {
            world.log.extend_from_slice(&new);
        }
        self.worlds[node].hub.committed(&new, &epochs("e1"));
    }

    fn heads(&self) -> Vec<u64> {
        self.worlds.iter().map(|world| world.feed.head().get()).collect()
    }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Commit { node: usize, events: usize },
    Bring(usize),
    BringTwice(usize),
    Lose(usize),
    Pass(u64),
    Read { node: usize, bytes: usize },
    Disconnect,
    Reconnect,
    FailReads(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..2_usize, 1..4_usize).prop_map(|(node, events)| Op::Commit { node, events }),
        4 => any::<usize>().prop_map(Op::Bring),
        1 => any::<usize>().prop_map(Op::BringTwice),
        1 => any::<usize>().prop_map(Op::Lose),
        1 => (0..60_u64).prop_map(Op::Pass),
        2 => (0..2_usize, 300..2_000_usize).prop_map(|(node, bytes)| Op::Read { node, bytes }),
        1 => Just(Op::Disconnect),
        1 => Just(Op::Reconnect),
        1 => (0..3_usize).prop_map(Op::FailReads),
    ]
}

struct Schedule {
    nodes: Nodes,
    readers: Vec<Reader>,
    again: Vec<(usize, News)>,
}

impl Schedule {
    async fn apply(&mut self, op: Op) {
        match op {
            Op::Commit { node, events } => self.nodes.commit(node, events),
            Op::Bring(pick) | Op::BringTwice(pick) => {
                let Some(message) = self.nodes.wire.take(pick) else { return };
                self.nodes.wire.bring(&message);
                if matches!(op, Op::BringTwice(_)) {
                    self.again.push(message);
                }
            }
            Op::Lose(pick) => drop(self.nodes.wire.take(pick)),
            Op::Pass(ms) => tokio::time::advance(Duration::from_millis(ms)).await,
            Op::Read { node, bytes } => self.read(node, bytes),
            Op::Disconnect => self.nodes.connect(false),
            Op::Reconnect => self.nodes.connect(true),
            Op::FailReads(reads) => self.nodes.store.fail(reads),
        }
        settle().await;
    }

    fn read(&mut self, node: usize, bytes: usize) {
        let mut batcher = Batcher::new();
        let world = &self.nodes.worlds[node];
        while self.readers[node].step(world, &mut batcher, bytes, 1_000) == Step::Wrote {}
    }

    /// The last messages may be lost, or come again: the store finds everything.
    async fn finish(&mut self) {
        self.nodes.wire.lose_all();
        for message in &self.again {
            self.nodes.wire.bring(message);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        for (reader, world) in self.readers.iter_mut().zip(&self.nodes.worlds) {
            assert_eq!(world.feed.head().get(), world.head(), "the feed finds every event");
            assert_eq!(reader.drain(world, &mut Batcher::new()).await, Step::Idle);
            reader.check_complete(world);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// Readers check every frame: nothing twice, nothing missed, nothing out of order.
    #[test]
    fn whatever_the_bus_does_both_nodes_show_the_log(ops in vec(op(), 1..100), early in 0..6_usize) {
        run(async {
            let config = LiveConfig { early_events: early, ..small() };
            let nodes = Nodes::start(2, config).await;
            let readers =
                nodes.worlds.iter().enumerate().map(|(n, world)| Reader::new(world, n, Start::Now)).collect();
            let mut schedule = Schedule { nodes, readers, again: Vec::new() };
            for op in ops {
                schedule.apply(op).await;
            }
            schedule.finish().await;
        });
    }
}

#[test]
fn what_one_node_commits_comes_to_the_other_and_is_not_read() {
    run(async {
        let mut nodes = Nodes::start(2, small()).await;
        let before = nodes.store.reads.load(Relaxed);
        nodes.commit(0, 3);
        nodes.wire.bring_all();
        nodes.commit(1, 1);
        nodes.wire.bring_all();
        assert_eq!(nodes.heads(), [4, 4]);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(nodes.store.reads.load(Relaxed), before);
    });
}

#[test]
fn neighbours_that_change_places_are_not_read() {
    run(async {
        let mut nodes = Nodes::start(2, small()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = nodes.store.reads.load(Relaxed);
        for _ in 0..20 {
            nodes.commit(0, 1);
            nodes.commit(0, 1);
            nodes.commit(0, 1);
            for pick in [1, 0, 0] {
                let message = nodes.wire.take(pick).expect("three");
                nodes.wire.bring(&message);
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        }
        assert_eq!(nodes.heads(), [60, 60]);
        assert_eq!(nodes.store.reads.load(Relaxed), before);
    });
}

#[test]
fn a_lost_last_message_is_found_within_a_second() {
    run(async {
        let mut nodes = Nodes::start(2, small()).await;
        nodes.commit(0, 2);
        nodes.wire.lose_all();
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(nodes.heads(), [2, 2]);
    });
}

#[test]
fn without_a_bus_the_store_is_asked_often_and_read_at_once() {
    run(async {
        let mut nodes = Nodes::start(2, small()).await;
        nodes.connect(false);
        settle().await;
        for n in 1..=20 {
            nodes.commit(0, 1);
            nodes.wire.lose_all();
            tokio::time::sleep(Duration::from_millis(55)).await;
            assert_eq!(nodes.heads(), [n, n]);
        }
        let before = nodes.store.polls.load(Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let polls = nodes.store.polls.load(Relaxed) - before;
        assert!((38..=42).contains(&polls), "two nodes asked {polls} times");
    });
}

#[test]
fn when_the_bus_comes_back_the_store_is_asked_at_once_and_then_seldom() {
    run(async {
        let mut nodes = Nodes::start(2, small()).await;
        nodes.connect(false);
        settle().await;
        nodes.commit(0, 1);
        nodes.wire.lose_all();
        nodes.connect(true);
        settle().await;
        tokio::time::sleep(Duration::from_millis(25)).await;
        assert_eq!(nodes.heads(), [1, 1]);
        let before = nodes.store.polls.load(Relaxed);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let polls = nodes.store.polls.load(Relaxed) - before;
        assert!((19..=21).contains(&polls), "two nodes asked {polls} times");
    });
}

#[test]
fn where_the_store_does_not_know_what_moved_every_feed_is_read() {
    run(async {
        let mut nodes = Nodes::start(1, small()).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let new: Vec<_> = (0..30).map(|_| nodes.store.append(&tenant(), made)).collect();
        nodes.worlds[0].log.extend(new);
        nodes.store.forgetful.store(true, Relaxed);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(nodes.heads(), [30], "to the head that the look found");
    });
}

#[test]
fn a_message_of_another_history_is_a_reason_to_look_and_no_event() {
    run(async {
        let nodes = Nodes::start(1, small()).await;
        let news = |name: &str, seq: u64| News {
            tenant: tenant(),
            epoch: Epoch::parse(name).expect("valid"),
            head: Seq::new(seq),
            events: vec![Arc::new(event(seq))],
        };
        nodes.wire.forge(news("e2", 1));
        assert_eq!(nodes.heads(), [0]);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((nodes.heads(), nodes.worlds[0].feed.ended()), (vec![0], None), "it was a lie");
        nodes.store.create(&tenant(), "e2");
        nodes.wire.forge(news("e2", 1));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(nodes.worlds[0].feed.ended(), Some(Ended::Renewed));
    });
}

#[test]
fn what_nobody_has_committed_is_forgotten() {
    run(async {
        let mut nodes = Nodes::start(1, small()).await;
        let forged = News {
            tenant: tenant(),
            epoch: Epoch::parse("e1").expect("valid"),
            head: Seq::new(u64::MAX >> 1),
            events: vec![Arc::new(event(2))],
        };
        nodes.wire.forge(forged);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut reader = Reader::new(&nodes.worlds[0], 0, Start::Now);
        nodes.commit(0, 4);
        assert_eq!(nodes.heads(), [4]);
        assert_eq!(reader.drain(&nodes.worlds[0], &mut Batcher::new()).await, Step::Idle);
        reader.check_complete(&nodes.worlds[0]);
    });
}

#[test]
fn only_tenants_with_open_feeds_are_joined() {
    run(async {
        let mut nodes = Nodes::start(1, small()).await;
        let bus = nodes.buses[0].clone();
        let joined = || bus.joined.lock().len();
        assert_eq!(joined(), 1);
        let other = TenantId::new("other").expect("valid");
        assert!(nodes.worlds[0].hub.open(&other).await.expect("answers").is_none());
        assert_eq!(joined(), 1, "there is no such tenant");
        nodes.store.create(&other, "e1");
        let feed = nodes.worlds[0].hub.open(&other).await.expect("answers").expect("exists");
        assert_eq!(joined(), 2);
        nodes.worlds[0].hub.close_feed(&tenant());
        assert_eq!(joined(), 1, "at once, whoever still has a handle");
        drop(feed);
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(joined(), 1, "it lingers");
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(joined(), 0);
        let world = &mut nodes.worlds[0];
        world.feed = world.hub.open(&tenant()).await.expect("answers").expect("exists");
        assert_eq!(joined(), 1);
    });
}

#[test]
fn gaps_are_read_a_few_at_a_time_and_every_feed_has_its_turn() {
    run(async {
        let store = Arc::new(MemoryStore::shared());
        let config = LiveConfig { repair_readers: 2, ..small() };
        let hub = Hub::start(store.clone(), config);
        let mut feeds = Vec::new();
        for n in 0..40 {
            let id = TenantId::new(format!("t{n}")).expect("valid");
            store.create(&id, "e1");
            feeds.push(hub.open(&id).await.expect("answers").expect("exists"));
            (0..9).for_each(|_| drop(store.append(&id, event)));
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert!(feeds.iter().all(|feed| feed.head().get() == 9));
        assert!(store.cluster().is_some());
    });
}

#[test]
fn a_reader_that_catches_up_meets_the_other_nodes_events() {
    run(async {
        let mut nodes = Nodes::start(2, small()).await;
        nodes.commit(0, 9);
        let mut reader = Reader::new(&nodes.worlds[1], 0, from(2));
        nodes.wire.bring_all();
        nodes.commit(0, 5);
        nodes.wire.lose_all();
        nodes.commit(1, 2);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(reader.drain(&nodes.worlds[1], &mut Batcher::new()).await, Step::Idle);
        reader.check_complete(&nodes.worlds[1]);
    });
}
