//! A worker waits at one node for what another takes in.

use std::thread::{self, ScopedJoinHandle};

use serde_json::{Value, json};
use tidings_tests::{
    Api,
    cluster::Cluster,
    wait::{self, LONG},
};

use super::jobs::job;

/// Longer than anything here takes: who waits to the end comes back with nothing.
const WAIT_S: u64 = 25;

fn poll<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    node: &'scope Api,
) -> ScopedJoinHandle<'scope, Vec<Value>> {
    scope.spawn(move || {
        let body = json!({ "worker": "w", "types": ["work"], "max": 1, "wait_s": WAIT_S });
        let reply = node.post("/api/v1/leases", &body).expect("answers").expect(200).json();
        reply["leases"].as_array().expect("leases").clone()
    })
}

#[test]
fn a_poll_at_one_node_brings_the_job_that_another_takes_in() {
    let cluster = Cluster::start();
    let nodes = cluster.tenant("acme");
    for from in 1..nodes.len() {
        thread::scope(|scope| {
            let poll = poll(scope, &nodes[0]);
            // Whichever comes first, the poll brings the job. How soon one that waits hears of another node's
            // is tested where it is known to wait, in the server's own tests.
            let made = nodes[from].post("/api/v1/jobs", &job(from)).expect("answers").expect(201).json();
            let leases = poll.join().expect("the poll ends");
            assert_eq!(leases.len(), 1, "the poll came back with nothing");
            assert_eq!(leases[0]["job"]["id"], made["id"]);
            let path = format!("/api/v1/leases/{}/complete", leases[0]["lease"].as_str().expect("a token"));
            let _ = nodes[from].post(&path, &json!({})).expect("answers").expect(200);
        });
    }
}

/// Each node knows its own polls: who stops asks until its poll is answered.
#[test]
fn a_worker_ends_its_poll_at_the_node_where_it_waits() {
    let cluster = Cluster::start();
    let nodes = cluster.tenant("acme");
    let stop = |node: &Api| {
        let reply = node.post("/api/v1/leases/stop", &json!({ "worker": "w" })).expect("answers");
        reply.expect(200).json()["polls"].as_u64().expect("a number")
    };
    thread::scope(|scope| {
        let poll = poll(scope, &nodes[0]);
        wait::until_true("the poll to be ended", LONG, || {
            assert_eq!(stop(&nodes[1]), 0, "another node knows nothing of it");
            stop(&nodes[0]) == 1
        });
        assert!(poll.join().expect("the poll ends").is_empty());
    });
}
