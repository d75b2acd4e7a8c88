//! Places of users among live connections, on several nodes of which one dies.

use tidings_tests::{
    StreamRequest,
    cluster::Cluster,
    stream::Live,
    wait::{self, LONG},
};

#[test]
fn a_killed_nodes_places_come_free() {
    let options = Cluster::options().nodes(2).without_redis();
    let mut cluster = options.set("limits.connections_per_user", 5).start();
    cluster.tenant("acme");
    let ana = cluster.user("acme", "ana");
    let open = |node: usize, live| StreamRequest::new(live).try_open(&ana[node]).expect("answers");
    let mut streams: Vec<_> = [(0, Live::Ws), (0, Live::Sse), (0, Live::Ws), (1, Live::Ws), (1, Live::Sse)]
        .map(|(node, live)| open(node, live).expect("there is a place"))
        .into();
    for node in [0, 1] {
        let refused = open(node, Live::Ws).expect_err("all are taken").expect_problem(429);
        assert_eq!(refused["type"], "urn:tidings:problem:connections-limited");
    }
    cluster.nodes[0].kill();
    for _ in 0..3 {
        streams.push(wait::until("a place of the dead node", LONG, || open(1, Live::Ws).ok()));
    }
    let _ = open(1, Live::Sse).expect_err("five are open at the node that lives").expect_problem(429);
}
