//! A leader dies, or stands still and does not know that it leads no more.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidings_tests::{
    Api,
    cluster::Cluster,
    server::signal,
    wait::{self, LONG},
};

use super::jobs::{LEASE, job};

/// What the product promises, from the leader's end.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(15);

#[test]
fn a_dead_leader_s_duties_are_taken_over() {
    let _alone = crate::alone();
    let mut cluster = Cluster::options().set("jobs.lease", "2s").start();
    let nodes = cluster.tenant("acme");
    let all = [0, 1, 2];
    let first = wait::until("a leader", LONG, || leader(&cluster, &all));
    let [_, a, b] = all.map(|n| (n + first) % all.len());
    let mut job = JobOfOthers::enqueue(&nodes[a]);

    job.take(&nodes[a], LONG);
    cluster.nodes[first].kill();
    let killed = Instant::now();
    job.take(&nodes[a], TAKEN_OVER_WITHIN + LEASE);
    let left = TAKEN_OVER_WITHIN.saturating_sub(killed.elapsed());
    let second = wait::until("one of the two to take over", left, || leader(&cluster, &[a, b]));
    cluster.nodes[first].resume();

    // It stands still: it does not know that its term is over, and cannot be asked.
    let others = all.into_iter().filter(|n| *n != second).collect::<Vec<_>>();
    signal(cluster.nodes[second].pid(), "STOP");
    let stopped = Instant::now();
    job.take(&nodes[others[0]], TAKEN_OVER_WITHIN + LEASE);
    let left = TAKEN_OVER_WITHIN.saturating_sub(stopped.elapsed());
    let third = wait::until("another to take over", left, || leader(&cluster, &others));
    signal(cluster.nodes[second].pid(), "CONT");
    wait::until_true("the leader of before to see that it leads no more", LONG, || {
        leader(&cluster, &[second]).is_none()
    });
    assert_eq!(leader(&cluster, &others), Some(third));
}

/// Which of `nodes` says that it takes lost leases away; one at most may.
fn leader(cluster: &Cluster, nodes: &[usize]) -> Option<usize> {
    let leads = |n: &&usize| cluster.nodes[**n].metric("duty_leading", "duty=\"rescue\"") == Some(1.0);
    let leading: Vec<_> = nodes.iter().filter(leads).copied().collect();
    assert!(leading.len() <= 1, "{leading:?} lead at once");
    leading.first().copied()
}

/// A job that is leased again and again and never reported on.
struct JobOfOthers {
    id: Value,
    attempt: u64,
}

impl JobOfOthers {
    fn enqueue(node: &Api) -> Self {
        let made = node.post("/api/v1/jobs", &job(1)).expect("answers").expect(201).json();
        Self { id: made["id"].clone(), attempt: 0 }
    }

    /// Its next attempt is given out, which takes that the last one's lease was taken away.
    fn take(&mut self, node: &Api, within: Duration) {
        let body = json!({ "worker": "w", "types": ["work"], "max": 1, "wait_s": 1 });
        let take = || {
            let reply = node.post("/api/v1/leases", &body).ok().filter(|reply| reply.status == 200)?;
            reply.json()["leases"].get(0).cloned()
        };
        let began = Instant::now();
        let lease = wait::until("the job to be given out", within, take);
        println!("attempt {} after {:?}", lease["attempt"], began.elapsed());
        self.attempt += 1;
        assert_eq!((&lease["attempt"], &lease["job"]["id"]), (&json!(self.attempt), &self.id));
    }
}
