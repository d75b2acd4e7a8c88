//! Nodes on one store in memory, over real servers.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_core::{Audience, Epoch, Filter, SystemEntropy, TenantId, Verbosity};
use tidings_store::CommitSink as _;
use tidings_testkit::{Redis, RedisCluster};

use super::{RedisBus, RedisConfig, link::Link, message};
use crate::{
    Batcher, Bus as _, BusKind, Encoding, FeedHandle, Hub, LiveConfig, Next, Start, Subscription,
    SubscriptionSpec, Transport,
    testing::{MemoryStore, event, tenant},
};

const PATIENCE: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(100_000);

struct Node {
    hub: Hub,
    bus: Arc<RedisBus>,
    feed: FeedHandle,
    subscription: Subscription,
    seen: Vec<u64>,
}

struct Nodes {
    store: Arc<MemoryStore>,
    nodes: Vec<Node>,
}

fn config(server: &Redis) -> RedisConfig {
    RedisConfig::new(&server.url(), "c1").expect("an address")
}

/// In which news come over the bus or not at all.
fn bus_alone() -> LiveConfig {
    LiveConfig {
        poll: NEVER,
        poll_without_bus: NEVER,
        repair_delay: NEVER,
        early_events: 10_000,
        early_bytes: 16 << 20,
        stale: NEVER,
        stale_close: NEVER * 2,
        ..LiveConfig::default()
    }
}

fn connect(config: &RedisConfig) -> Arc<RedisBus> {
    RedisBus::connect(config.clone(), Arc::new(SystemEntropy))
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

impl Node {
    async fn start(store: &Arc<MemoryStore>, config: &RedisConfig, live: LiveConfig) -> Self {
        let bus = connect(config);
        let hub = Hub::with_bus(store.clone(), live, bus.clone());
        until("the connection", || bus.state().connected).await;
        let feed = hub.open(&tenant()).await.expect("answers").expect("exists");
        let spec = SubscriptionSpec {
            filter: Filter::default(),
            audience: Audience::unlimited(),
            encoding: Encoding { transport: Transport::Sse, verbosity: Verbosity::Minimal },
            start: Start::Now,
        };
        let subscription = Subscription::new(feed.clone(), spec).0;
        Self { hub, bus, feed, subscription, seen: Vec::new() }
    }

    async fn read(&mut self) {
        loop {
            match self.subscription.next(&mut Batcher::new(), 1 << 16) {
                Next::Batch(batch) => self.seen.extend(batch.frames.iter().map(|frame| frame.seq.get())),
                Next::Page(request) => {
                    let page = self.hub.pager().read(request).await;
                    self.subscription.supply(page);
                }
                Next::Idle => return,
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Nodes {
    async fn start(config: &RedisConfig, live: LiveConfig) -> Self {
        let store = Arc::new(MemoryStore::shared());
        store.create(&tenant(), "e1");
        let mut nodes = Vec::new();
        for _ in 0..2 {
            nodes.push(Node::start(&store, config, live.clone()).await);
        }
        Self { store, nodes }
    }

    fn commit(&self, node: usize, events: usize) {
        self.commit_to(node, &tenant(), events);
    }

    fn commit_to(&self, node: usize, tenant: &TenantId, events: usize) {
        let new: Vec<_> = (0..events).map(|_| self.store.append(tenant, event)).collect();
        let epochs = [(tenant.clone(), Epoch::parse("e1").expect("valid"))];
        self.nodes[node].hub.committed(&new, &epochs);
    }

    /// Every node shows `1..=head`, each once, in order.
    async fn expect(&mut self, head: u64) {
        for node in &mut self.nodes {
            until("the head", || node.feed.head().get() == head).await;
            node.read().await;
            assert_eq!(node.seen, (1..=head).collect::<Vec<_>>());
        }
    }

    async fn until_connected(&self, connected: bool) {
        for node in &self.nodes {
            until("the connection's change", || node.bus.state().connected == connected).await;
        }
    }
}

#[tokio::test]
async fn two_nodes_that_both_commit_show_the_same_over_the_bus_alone() {
    let server = Redis::start();
    let mut nodes = Nodes::start(&config(&server), bus_alone()).await;
    for n in 0..300 {
        nodes.commit(n % 2, 1 + n % 3);
        if n % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    nodes.expect(600).await;
    let states: Vec<_> = nodes.nodes.iter().map(|node| node.bus.state()).collect();
    assert_eq!(states.iter().map(|s| s.published).sum::<u64>(), 600);
    assert_eq!(states.iter().map(|s| s.received).sum::<u64>(), 600, "its own come back to nobody");
    for state in states {
        assert_eq!((state.kind, state.joined, state.dropped, state.malformed), (BusKind::Redis, 1, 0, 0));
    }
}

#[tokio::test]
async fn a_server_that_is_killed_costs_nobody_an_event() {
    let server = Redis::start();
    let mut nodes = Nodes::start(&config(&server), LiveConfig::default()).await;
    nodes.commit(0, 3);
    nodes.expect(3).await;
    server.kill9();
    for n in 0..40 {
        nodes.commit(n % 2, 1);
    }
    nodes.expect(43).await;
    nodes.until_connected(false).await;
    server.restart();
    nodes.until_connected(true).await;
    let before = nodes.nodes[1].bus.state().received;
    nodes.commit(0, 5);
    nodes.expect(48).await;
    let bus = nodes.nodes[1].bus.clone();
    until("news over the bus", || bus.state().received > before).await;
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed() {
    let server = Redis::start();
    let mut nodes = Nodes::start(&config(&server), LiveConfig::default()).await;
    server.pause();
    nodes.commit(0, 3);
    nodes.commit(1, 3);
    nodes.expect(6).await;
    nodes.until_connected(false).await;
    nodes.commit(0, 3);
    nodes.expect(9).await;
    server.resume();
    nodes.until_connected(true).await;
    nodes.commit(1, 3);
    nodes.expect(12).await;
}

#[tokio::test]
async fn it_starts_without_its_server_and_finds_it_later() {
    let server = Redis::start();
    server.kill9();
    let bus = connect(&config(&server));
    let store = Arc::new(MemoryStore::shared());
    store.create(&tenant(), "e1");
    let hub = Hub::with_bus(store.clone(), LiveConfig::default(), bus.clone());
    let feed = hub.open(&tenant()).await.expect("answers").expect("exists");
    store.append(&tenant(), event);
    until("the event, from the store", || feed.head().get() == 1).await;
    assert!(!bus.state().connected);
    server.restart();
    until("the connection", || bus.state().connected).await;
    until("the channel", || server.cli(&["PUBSUB", "NUMSUB", "tidings:c1:{acme}"]).trim_end().ends_with('1'))
        .await;
}

#[tokio::test]
async fn channels_are_held_for_open_feeds_alone() {
    let server = Redis::start();
    let live = LiveConfig { linger: Duration::from_millis(50), ..bus_alone() };
    let nodes = Nodes::start(&config(&server), live).await;
    let channels = || server.cli(&["PUBSUB", "CHANNELS"]).trim().to_owned();
    assert_eq!(channels(), "tidings:c1:{acme}");
    let Nodes { nodes, .. } = nodes;
    let hubs: Vec<Hub> = nodes.iter().map(|node| node.hub.clone()).collect();
    drop(nodes);
    until("the channel's end", || channels().is_empty()).await;
    assert!(hubs.iter().all(|hub| hub.bus().joined == 0 && hub.bus().connected));
}

#[tokio::test]
async fn tls_is_checked_against_the_given_authority() {
    let server = Redis::options().tls().start();
    let authority = fs::read(server.ca_file().expect("it has one")).expect("reads");
    let trusting = config(&server).with_authorities(authority).expect("PEM");
    let mut nodes = Nodes::start(&trusting, bus_alone()).await;
    nodes.commit(0, 3);
    nodes.expect(3).await;
    let error = Link::open(&config(&server), nowhere()).await.expect_err("nobody vouches for it");
    assert!(error.to_string().contains("certificate"), "{error}");
}

/// Takes what the server sends unasked, for nobody.
fn nowhere() -> tokio::sync::mpsc::UnboundedSender<redis::PushInfo> {
    tokio::sync::mpsc::unbounded_channel().0
}

#[tokio::test]
async fn an_acl_user_needs_only_its_channels_and_its_password_is_never_told() {
    let rules = "resetchannels &tidings:c1:* +publish +subscribe +unsubscribe +ping";
    let server = Redis::options().user("tidings", "geheim-42", rules).start();
    let mut nodes = Nodes::start(&config(&server), bus_alone()).await;
    nodes.commit(0, 3);
    nodes.expect(3).await;
    let wrong = server.url().replace("geheim-42", "falsch-43");
    let wrong = RedisConfig::new(&wrong, "c1").expect("an address");
    let error = Link::open(&wrong, nowhere()).await.expect_err("the password is wrong");
    let told = format!("{error} {error:?} {wrong:?} {:?}", nodes.nodes[0].bus);
    assert!(!told.contains("geheim") && !told.contains("falsch"), "{told}");
    let other = RedisConfig::new(&server.url(), "c2").expect("an address");
    let link = Link::open(&other, nowhere()).await.expect("the user may enter");
    link.join(vec!["tidings:c2:{acme}".into()]).await.expect_err("not its channels");
}

#[tokio::test]
async fn what_strangers_publish_is_counted_and_harms_nobody() {
    let server = Redis::start();
    let mut nodes = Nodes::start(&config(&server), LiveConfig::default()).await;
    nodes.commit(0, 2);
    nodes.expect(2).await;
    let link = Link::open(&config(&server), nowhere()).await.expect("connects");
    let channel = |tenant: &str| format!("tidings:c1:{{{tenant}}}");
    let (epoch, node) = (Epoch::parse("e1").expect("valid"), [9; 16]);
    let other = TenantId::new("other").expect("valid");
    let of_other = message::write(&node, &other, &epoch, &[Arc::new(event(3))]).remove(0).payload;
    let mut cut = message::write(&node, &tenant(), &epoch, &[Arc::new(event(3))]).remove(0).payload;
    cut.pop();
    let mut later = cut.clone();
    later[0] = 200;
    let strange = [Vec::new(), b"hello".into(), vec![1], vec![1; 2 << 20], of_other, cut, later];
    let messages = strange.map(|payload| (channel("acme"), payload)).into();
    link.publish(messages).await.expect("published");
    let buses: Vec<_> = nodes.nodes.iter().map(|node| node.bus.clone()).collect();
    // Not "hello" and the last, which are of other versions.
    until("the count", || buses.iter().all(|bus| bus.state().malformed == 5)).await;
    // One that reads, of an event that nobody committed.
    let forged = message::write(&node, &tenant(), &epoch, &[Arc::new(event(900))]).remove(0).payload;
    link.publish(vec![(channel("acme"), forged)]).await.expect("published");
    nodes.commit(1, 2);
    nodes.expect(4).await;
    assert!(buses.iter().all(|bus| bus.state().connected));
}

#[tokio::test]
async fn another_cluster_on_the_same_server_is_not_heard() {
    let server = Redis::start();
    let mut nodes = Nodes::start(&config(&server), bus_alone()).await;
    let others = RedisConfig::new(&server.url(), "c2").expect("an address");
    let others = Nodes::start(&others, bus_alone()).await;
    others.commit(0, 5);
    nodes.commit(0, 1);
    nodes.expect(1).await;
    assert_eq!(nodes.nodes[1].bus.state().received, 1);
}

/// Tenants enough that every shard has some.
async fn open_many(nodes: &Nodes, count: usize) -> Vec<(TenantId, FeedHandle)> {
    let mut feeds = Vec::new();
    for n in 0..count {
        let id = TenantId::new(format!("t{n}")).expect("valid");
        nodes.store.create(&id, "e1");
        let feed = nodes.nodes[1].hub.open(&id).await.expect("answers").expect("exists");
        feeds.push((id, feed));
    }
    feeds
}

#[tokio::test]
async fn on_a_redis_cluster_channels_are_sharded() {
    let cluster = RedisCluster::start(3);
    // One address is enough to find the others.
    let mut nodes = Nodes::start(&config(&cluster.nodes()[1]), bus_alone()).await;
    let feeds = open_many(&nodes, 60).await;
    for (tenant, _) in &feeds {
        nodes.commit_to(0, tenant, 2);
    }
    nodes.commit(0, 3);
    nodes.commit(1, 3);
    nodes.expect(6).await;
    for (tenant, feed) in &feeds {
        until(tenant.as_str(), || feed.head().get() == 2).await;
    }
    let state = nodes.nodes[1].bus.state();
    assert_eq!((state.kind, state.joined, state.malformed), (BusKind::RedisCluster, 61, 0));
    let of_shard =
        |server: &Redis| server.cli(&["PUBSUB", "SHARDCHANNELS"]).lines().filter(|l| !l.is_empty()).count();
    let shards: Vec<usize> = cluster.nodes().iter().map(of_shard).collect();
    assert!(shards.iter().all(|channels| *channels > 5) && shards.iter().sum::<usize>() == 61, "{shards:?}");
}

#[tokio::test]
async fn a_shard_that_is_killed_costs_nobody_an_event() {
    let cluster = RedisCluster::start(3);
    let config = RedisConfig::new(&cluster.urls(), "c1").expect("addresses");
    let mut nodes = Nodes::start(&config, LiveConfig::default()).await;
    let feeds = open_many(&nodes, 12).await;
    cluster.nodes()[0].kill9();
    for (tenant, _) in &feeds {
        nodes.commit_to(0, tenant, 2);
    }
    nodes.commit(0, 4);
    nodes.expect(4).await;
    for (tenant, feed) in &feeds {
        until(tenant.as_str(), || feed.head().get() == 2).await;
    }
    nodes.until_connected(false).await;
    cluster.nodes()[0].restart();
    nodes.until_connected(true).await;
    let before = nodes.nodes[1].bus.state().received;
    for (tenant, _) in &feeds {
        nodes.commit_to(0, tenant, 1);
    }
    for (tenant, feed) in &feeds {
        until(tenant.as_str(), || feed.head().get() == 3).await;
    }
    let bus = nodes.nodes[1].bus.clone();
    until("news over the bus", || bus.state().received >= before + 12).await;
}
