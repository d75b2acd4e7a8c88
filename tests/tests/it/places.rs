//! Places among live connections and among those that are none: who has how many, and that they come free.

use std::net::Ipv4Addr;

use tidings_tests::{
    Server, ServerOptions, StreamRequest,
    cluster::{Cluster, ClusterOptions},
    stream::Live,
    wait::{self, LONG},
    wire::Wire,
};

/// Of the 4,096 connections that are no live ones.
const SHARE: usize = 1_024;

#[test]
fn silent_connections_of_one_address_leave_places_to_others() {
    crate::flood::take_descriptors(8_192);
    let server = ServerOptions::new().as_shipped().set("limits.header_timeout", "1m").start();
    let greedy = Ipv4Addr::new(127, 0, 6, 1);
    let connect = || Wire::connect_from(server.addr, greedy, LONG).expect("connects");
    let silent: Vec<_> = (0..SHARE).map(|_| connect()).collect();
    // Else one of the ten might be let in before the last of these.
    wait::until_true("all to be taken in", LONG, || {
        server.metric("listener_connections", "http").is_some_and(|n| n >= SHARE as f64)
    });
    for _ in 0..10 {
        let answer = connect().take_to_end().expect("an answer and the end");
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
        assert!(answer.contains("retry-after: 1\r\n") && answer.contains("connections-limited"), "{answer}");
    }
    // Everybody else comes from 127.0.0.1.
    let api = server.tenant("acme");
    let _stream = StreamRequest::new(Live::Ws).open(&api);
    assert_eq!(
        server.metric("http_requests_limited_total", "limits.listener_connections_per_ip"),
        Some(10.0)
    );
    drop(silent);
    wait::until_true("the places to be free", LONG, || {
        let mut wire = connect();
        wire.write(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").is_ok()
            && wire.take_to_end().is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200 "))
    });
}

#[test]
fn a_killed_nodes_places_come_free() {
    places_come_free(&Cluster::options().without_redis());
}

#[test]
fn a_killed_nodes_places_come_free_where_redis_counts_them() {
    places_come_free(&Cluster::options());
}

fn places_come_free(options: &ClusterOptions) {
    const PLACES: usize = 5;
    let options = options.clone().nodes(2).set("limits.connections_per_user", PLACES);
    let mut cluster = options.start();
    // Until it reaches Redis, a node counts alone.
    let counts = |node: &Server| {
        wait::until_true("a node to count with the other", LONG, || {
            let health = node.anonymous().get("/health").expect("answers").json();
            health["bus"] == "ok" || health["bus"] == "none"
        });
    };
    cluster.nodes.iter().for_each(counts);
    cluster.tenant("acme");
    let ana = cluster.user("acme", "ana");
    let open = |node: usize, live| StreamRequest::new(live).try_open(&ana[node]).expect("answers");
    let refused = |node: usize| {
        let problem = open(node, Live::Sse).expect_err("all are taken").expect_problem(429);
        assert_eq!(problem["type"], "urn:tidings:problem:connections-limited");
        assert_eq!(problem["limit"], "limits.connections_per_user");
    };
    let mut streams: Vec<_> = [(0, Live::Ws), (0, Live::Sse), (0, Live::Ws), (1, Live::Ws), (1, Live::Sse)]
        .map(|(node, live)| open(node, live).expect("there is a place"))
        .into();
    refused(0);
    refused(1);
    cluster.nodes[0].kill();
    refused(1);
    // Redis has what a node said for thirty seconds.
    for _ in 0..3 {
        streams.push(wait::until("a place of the dead node", 2 * LONG, || open(1, Live::Ws).ok()));
    }
    refused(1);
    cluster.nodes[0].resume();
    counts(&cluster.nodes[0]);
    refused(0);
    // What is given back is all there again, at whichever node, and no more than that.
    drop(streams);
    let mut again = Vec::new();
    for n in 0..PLACES {
        let live = if n % 2 == 0 { Live::Ws } else { Live::Sse };
        again.push(wait::until("a place to be free", LONG, || open(n % 2, live).ok()));
    }
    refused(0);
    refused(1);
    for node in &cluster.nodes {
        assert_eq!(node.metric("connection_places_alone_total", ""), Some(0.0), "they were counted together");
    }
}
