//! Jobs on three nodes, with workers, nodes and leaders that are killed and stand still.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tidings_tests::{
    Api, Reply,
    cluster::Cluster,
    history::Log,
    seed,
    server::signal,
    wait::{self, LONG, pause},
};

use super::soak;

const WORKERS: usize = 24;
/// Few at a time: what is reported one after another must fit into a lease, also on a busy machine.
const LEASES: usize = 4;
const BATCH: usize = 100;
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// The promise is for a hundred thousand; each day's run takes a part of them.
fn jobs() -> usize {
    if soak().is_some() { 100_000 } else { 2_000 }
}

/// What the workers know together.
#[derive(Default)]
struct Floor {
    /// The latest attempt of each job that a worker was given.
    issued: Mutex<HashMap<String, u64>>,
    /// The attempt whose completion was acknowledged.
    done: Mutex<BTreeMap<String, u64>>,
    fenced: AtomicUsize,
    abandoned: AtomicUsize,
    /// The test has failed: a scope waits for its threads even then.
    failed: AtomicBool,
}

/// Sends the workers home when the test fails in between.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn no_two_leases_of_a_job_are_valid_at_once() {
    let _alone = crate::alone();
    let mut rng = seed::rng("leases");
    let mut cluster = Cluster::options().set("jobs.lease", "2s").start();
    let nodes = cluster.tenant("acme");
    let (floor, total, start) = (Floor::default(), jobs(), Instant::now());
    let (mut enqueued, late) = thread::scope(|scope| {
        let _alarm = Alarm(&floor.failed);
        for _ in 0..WORKERS {
            let (seed, nodes, floor) = (rng.random(), &nodes, &floor);
            scope.spawn(move || work(nodes, floor, total, StdRng::seed_from_u64(seed)));
        }
        let enqueued = enqueue(&nodes, total);
        let late = report_late(&nodes, &floor.fenced);
        for round in 0..3 {
            let enough = total / 8 * (2 * round + 1);
            floor.wait_done(enough);
            println!("{} jobs done, {:?} after the start", floor.done(), start.elapsed());
            disturb(&mut cluster, round);
        }
        floor.wait_done(total);
        (enqueued, late)
    });
    enqueued.insert(late.job.clone());
    floor.done.lock().expect("no holder panics").insert(late.job, late.attempt);
    floor.judge(&nodes[0], &enqueued);
}

/// One node is killed, one stands still for longer than a lease, and PostgreSQL is killed.
fn disturb(cluster: &mut Cluster, round: usize) {
    match round {
        0 => {
            cluster.nodes[0].kill();
            cluster.nodes[0].resume();
        }
        1 => {
            signal(cluster.nodes[1].pid(), "STOP");
            pause(LEASE * 2);
            signal(cluster.nodes[1].pid(), "CONT");
        }
        _ => {
            cluster.postgres.kill9();
            cluster.postgres.restart();
        }
    }
}

pub(super) fn job(n: usize) -> Value {
    json!({ "type": "work", "payload": n, "max_attempts": 100, "backoff": { "base": "10ms", "max": "20ms" } })
}

fn enqueue(nodes: &[Api], total: usize) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for first in (0..total).step_by(BATCH) {
        let body: Vec<_> = (first..(first + BATCH).min(total)).map(job).collect();
        let key = format!("batch-{first}");
        let reply = insist(nodes, first / BATCH, "/api/v1/jobs", &[("Idempotency-Key", &key)], &body);
        assert!(matches!(reply.status, 200 | 201), "{} {}", reply.status, reply.text());
        for job in reply.json()["jobs"].as_array().expect("jobs") {
            ids.insert(job["id"].as_str().expect("an id").to_owned());
        }
    }
    ids
}

/// A request that is repeated, from node to node, until it has a definite answer.
fn insist(
    nodes: &[Api],
    first: usize,
    path: &str,
    headers: &[(&str, &str)],
    body: &impl serde::Serialize,
) -> Reply {
    let in_turn = nodes.iter().cycle().skip(first % nodes.len());
    for node in in_turn.take(2_000) {
        let reply = node.session().and_then(|mut session| session.post_with(path, headers, body));
        if let Some(reply) = reply.ok().filter(|reply| reply.status != 503) {
            return reply;
        }
        pause(Duration::from_millis(20));
    }
    panic!("{path}: no answer");
}

fn work(nodes: &[Api], floor: &Floor, total: usize, mut rng: StdRng) {
    let body = json!({ "worker": "w", "types": ["work"], "max": LEASES, "wait_s": 1 });
    let _alarm = Alarm(&floor.failed);
    while floor.done() < total && !floor.failed.load(Ordering::Relaxed) {
        let reply = insist(nodes, rng.random_range(0..nodes.len()), "/api/v1/leases", &[], &body).expect(200);
        let leases = floor.take(reply.json()["leases"].as_array().expect("leases"));
        match rng.random_range(0..100) {
            // Killed: nobody hears of it again.
            0..3 => {
                floor.abandoned.fetch_add(leases.len(), Ordering::Relaxed);
                continue;
            }
            // Paused for longer than its leases: it does not know.
            3..6 => pause(LEASE + LEASE / 2),
            _ => {}
        }
        for lease in leases {
            floor.complete(nodes, rng.random_range(0..nodes.len()), &lease);
        }
    }
}

/// A worker that has lost its job to another reports all that can be reported: each is refused. Then the other
/// completes it. The job is of a type of its own, so that nobody else takes it and nothing waits before it.
fn report_late(nodes: &[Api], fenced: &AtomicUsize) -> Lease {
    let job = json!({ "type": "late", "backoff": { "base": "10ms", "max": "20ms" } });
    let _ = insist(nodes, 0, "/api/v1/jobs", &[("Idempotency-Key", "late")], &job).expect(201);
    let lease = |worker: &str| {
        let body = json!({ "worker": worker, "types": ["late"], "max": 1, "wait_s": 1 });
        wait::until("the job to be given out", LONG * 4, || {
            let reply = insist(nodes, 0, "/api/v1/leases", &[], &body).expect(200).json();
            reply["leases"].get(0).map(Lease::read)
        })
    };
    let (first, second) = (lease("first"), lease("second"));
    assert_eq!((&first.job, first.attempt + 1), (&second.job, second.attempt));
    let report = |n: usize, lease: &Lease, what: &str, body: &Value| {
        let reply = insist(nodes, n, &format!("/api/v1/leases/{}/{what}", lease.token), &[], body);
        (reply.status, reply.text())
    };
    for (n, (what, body)) in late_reports().iter().enumerate() {
        let (status, text) = report(n, &first, what, body);
        assert_eq!(status, 409, "{what}: {text}");
        fenced.fetch_add(1, Ordering::Relaxed);
    }
    // On a busy machine it may have lost the job as well: somebody has to end it.
    let mut last = second;
    while report(1, &last, "complete", &json!({ "result": last.attempt })).0 != 200 {
        last = lease("next");
    }
    last
}

fn late_reports() -> [(&'static str, Value); 5] {
    [
        ("heartbeat", json!({})),
        ("progress", json!({ "percent": 99, "message": "late" })),
        ("complete", json!({ "result": "late" })),
        ("fail", json!({ "error": "late" })),
        ("release", json!({})),
    ]
}

struct Lease {
    token: String,
    job: String,
    attempt: u64,
}

impl Lease {
    fn read(lease: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let attempt = lease["attempt"].as_u64().expect("an attempt");
        Self { token: text(&lease["lease"]), job: text(&lease["job"]["id"]), attempt }
    }
}

impl Floor {
    fn done(&self) -> usize {
        self.done.lock().expect("no holder panics").len()
    }

    fn wait_done(&self, enough: usize) {
        wait::until_true("jobs to be done", LONG * 40, || {
            assert!(!self.failed.load(Ordering::Relaxed), "a worker has failed");
            self.done() >= enough
        });
    }

    fn take(&self, leases: &[Value]) -> Vec<Lease> {
        let mut issued = self.issued.lock().expect("no holder panics");
        let take = |lease: &Value| {
            let lease = Lease::read(lease);
            let last = issued.entry(lease.job.clone()).or_insert(0);
            assert_ne!(*last, lease.attempt, "one attempt of {} was given out twice", lease.job);
            *last = (*last).max(lease.attempt);
            lease
        };
        leases.iter().map(take).collect()
    }

    /// Reports under a lease. Once a later one was given out, before this report was sent, it must be refused.
    fn complete(&self, nodes: &[Api], first: usize, lease: &Lease) {
        let latest = self.issued.lock().expect("no holder panics")[&lease.job];
        let path = format!("/api/v1/leases/{}/complete", lease.token);
        let reply = insist(nodes, first, &path, &[], &json!({ "result": lease.attempt }));
        match reply.status {
            200 => {
                assert_eq!(lease.attempt, latest, "two leases of {} were valid at once", lease.job);
                let before =
                    self.done.lock().expect("no holder panics").insert(lease.job.clone(), lease.attempt);
                assert_eq!(before, None, "{} was completed twice", lease.job);
            }
            409 => {
                self.fenced.fetch_add(1, Ordering::Relaxed);
            }
            _ => panic!("{} {}", reply.status, reply.text()),
        }
    }

    fn judge(&self, api: &Api, enqueued: &BTreeSet<String>) {
        let log = Log::read(api, "acme", "verbosity=detail");
        log.assert_orderly();
        let ends = log.assert_each_job_ended_once(enqueued);
        assert!(ends.values().all(|end| end == "job.completed"));
        let late = log.reads().filter(|e| e.value["data"]["message"] == "late").count();
        assert_eq!(late, 0, "a fenced report changes nothing");
        let done = self.done.lock().expect("no holder panics");
        for event in log.reads().filter(|e| e.text("type") == Some("job.completed")) {
            let job = event.text("job_id").expect("a job");
            assert_eq!(event.value["data"]["result"], done[job], "the acknowledged result of {job}");
        }
        let fenced = self.fenced.load(Ordering::Relaxed);
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        println!("{} jobs, {fenced} reports fenced, {abandoned} leases abandoned", done.len());
        assert!(fenced > 0 && abandoned > 0, "nothing was disturbed: {fenced} {abandoned}");
    }
}
