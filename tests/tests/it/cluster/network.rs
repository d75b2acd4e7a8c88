//! The network between one node and what it stands on.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use rand::RngExt as _;
use tidings_tests::{
    Message, StreamRequest,
    cluster::{Cluster, Proxies},
    load::RECOVERY,
    seed,
    stream::Live,
    wait::{self, LONG, pause},
};

use super::{assert_nobody_reconnected, assert_told_stale, load, repeat};

/// The readers of the first node: the load spreads them in turn.
fn of_first<'a>(
    cluster: &Cluster,
    readers: &'a [Vec<tidings_tests::Follower>],
) -> impl Iterator<Item = &'a tidings_tests::Follower> {
    let nodes = cluster.nodes.len();
    readers.iter().flat_map(move |tenant| tenant.iter().step_by(nodes))
}

fn proxies(cluster: &Cluster) -> &Proxies {
    cluster.proxies.as_ref().expect("the first node has them")
}

/// The product's own times, and what a busy machine may add to them.
const STALE_AFTER: Duration = Duration::from_secs(5);
const CLOSE_AFTER: Duration = Duration::from_secs(30);
const LATE: Duration = Duration::from_secs(3);

#[test]
fn a_node_cut_off_from_postgresql_says_so_and_catches_up() {
    let _alone = crate::alone();
    let cluster = Cluster::options().first_in_a_netns().start();
    let netns = cluster.netns.as_ref().expect("the first node has one");
    // Nothing happens in this tenant but what is published when all is over.
    let quiet = cluster.tenant("quiet");
    let mut streams: Vec<_> = quiet.iter().map(|node| StreamRequest::new(Live::Ws).open(node)).collect();
    let red = cluster.user("red", "backend");
    let readers = load(&cluster).run(|load| {
        repeat(1, |_| {
            load.wait_acknowledged(100);
            netns.cut(proxies(&cluster).postgres.addr());
            let cut = Instant::now();
            assert!(streams[0].control("stream.stale")["as_of"].is_string());
            assert!(cut.elapsed() < STALE_AFTER + LATE, "told after {:?}", cut.elapsed());
            wait::until_true("the cut-off node to refuse", LONG, || {
                red[0].post("/api/v1/events", &event()).is_ok_and(|reply| reply.status == 503)
            });
            // The others go on, and their readers are as live as before.
            load.wait_acknowledged(50);
            pause((STALE_AFTER + LATE).saturating_sub(cut.elapsed()));
            netns.heal();
            load.assert_recovers(Instant::now());
            let made = quiet[1].post("/api/v1/events", &event()).expect("answers").expect(201).json();
            for (node, stream) in streams.iter_mut().enumerate() {
                let (seq, controls) = next_event(stream);
                assert_eq!(made["seq"], seq, "node {node}");
                let stale = controls.iter().filter(|c| c["type"] == "stream.stale").count();
                assert!(stale == 0 || node == 0, "node {node} reaches PostgreSQL and called itself stale");
            }
        });
    });
    assert_told_stale(of_first(&cluster, &readers));
    assert_nobody_reconnected(&readers);
}

fn event() -> serde_json::Value {
    serde_json::json!({ "type": "note.made", "data": {} })
}

/// The next event's number, and what was said before it.
fn next_event(stream: &mut tidings_tests::Stream) -> (u64, Vec<serde_json::Value>) {
    let mut controls = Vec::new();
    loop {
        match stream.next(LONG) {
            Ok(Message::Event { seq, .. }) => return (seq, controls),
            Ok(Message::Control(control)) => controls.push(control),
            other => panic!("waited for an event: {other:?}"),
        }
    }
}

#[test]
fn a_node_cut_off_for_long_closes_its_streams() {
    let cluster = Cluster::options().first_in_a_netns().start();
    let netns = cluster.netns.as_ref().expect("the first node has one");
    let nodes = cluster.tenant("acme");
    let mut streams = [Live::Ws, Live::Sse].map(|live| StreamRequest::new(live).open(&nodes[0]));
    let mut live = StreamRequest::new(Live::Ws).open(&nodes[1]);
    netns.cut(proxies(&cluster).postgres.addr());
    let cut = Instant::now();
    for (stream, code) in streams.iter_mut().zip([Some(1013), None]) {
        let left = (CLOSE_AFTER + LATE).saturating_sub(cut.elapsed());
        let (controls, closed) = stream.end(left);
        let kinds: Vec<_> = controls.iter().map(|c| c["type"].as_str().unwrap_or_default()).collect();
        assert!(kinds.contains(&"stream.stale"), "{kinds:?}");
        let closing = controls.iter().find(|c| c["type"] == "stream.closing").expect("stream.closing");
        assert_eq!(closing["code"], 1013, "{closing}");
        assert_eq!(closed, code);
    }
    // The head was certain a moment before the cut at the latest.
    assert!(cut.elapsed() + LATE > CLOSE_AFTER, "closed after {:?}", cut.elapsed());
    let seq = nodes[1].post("/api/v1/events", &event()).expect("answers").expect(201).json()["seq"].clone();
    assert_eq!(seq, live.event().0, "the other node's stream is live");
    netns.heal();
    let healed = Instant::now();
    let left = || RECOVERY.saturating_sub(healed.elapsed());
    let open = || StreamRequest::new(Live::Ws).since(0).try_open(&nodes[0]).ok()?.ok();
    let mut again = wait::until("the node to take streams again", left(), open);
    assert_eq!(seq, again.event().0, "what it missed");
    assert!(!left().is_zero(), "back after {:?}", healed.elapsed());
}

#[test]
fn a_node_cut_off_from_redis_polls_and_nobody_reconnects() {
    let _alone = crate::alone();
    let cluster = Cluster::options().first_in_a_netns().start();
    let netns = cluster.netns.as_ref().expect("the first node has one");
    let readers = load(&cluster).run(|load| {
        repeat(1, |_| {
            load.wait_acknowledged(100);
            netns.cut(proxies(&cluster).redis.as_ref().expect("it has one").addr());
            load.wait_acknowledged(100);
            load.assert_recovers(Instant::now());
            netns.heal();
            load.wait_acknowledged(100);
            load.assert_recovers(Instant::now());
        });
    });
    assert_nobody_reconnected(&readers);
}

/// A reset of a connection does not tell whether what was asked has happened.
#[test]
fn answers_of_postgresql_that_are_cut_make_no_double_and_no_gap() {
    let _alone = crate::alone();
    let mut rng = seed::rng("cut answers");
    let cluster = Cluster::options().first_by_proxies().start();
    load(&cluster).run(|load| {
        repeat(1, |_| {
            for _ in 0..30 {
                let proxy = &proxies(&cluster).postgres;
                proxy.cut_after_answered(rng.random_range(0..600));
                wait::until_true("an answer to be cut", LONG, || !proxy.is_armed());
                load.wait_acknowledged(5);
            }
            load.assert_recovers(Instant::now());
        });
    });
}

/// Both servers' connections are reset again and again.
#[test]
fn connections_that_are_reset_are_made_anew() {
    let _alone = crate::alone();
    let cluster = Cluster::options().first_by_proxies().start();
    let readers = load(&cluster).run(|load| {
        repeat(1, |_| {
            let resetting = AtomicBool::new(true);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while resetting.load(Ordering::Relaxed) {
                        proxies(&cluster).postgres.cut_once();
                        proxies(&cluster).redis.as_ref().expect("it has one").cut_once();
                        pause(Duration::from_millis(400));
                    }
                });
                load.wait_acknowledged(200);
                resetting.store(false, Ordering::Relaxed);
            });
            load.assert_recovers(Instant::now());
        });
    });
    assert_nobody_reconnected(&readers);
}
