//! One tenant's clients and what they know.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{Scope, ScopedJoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{insist, stage::Stage};
use crate::{
    Api, Follower, Reply, Session, Transport,
    follower::Step,
    history::{History, Log},
    wait::{self, pause},
};

/// The threads of one tenant.
pub(super) struct Running<'scope> {
    pub(super) producers: Vec<ScopedJoinHandle<'scope, ()>>,
    pub(super) workers: Vec<ScopedJoinHandle<'scope, ()>>,
    pub(super) readers: Vec<ScopedJoinHandle<'scope, Follower>>,
}

#[derive(Debug)]
pub struct TenantLoad {
    tenant: String,
    epoch: String,
    /// The same tenant on every node.
    nodes: Vec<Api>,
    /// What each producer rests between two requests.
    pace: Duration,
    /// How far each reader is.
    reached: Vec<AtomicU64>,
    head: AtomicU64,
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
    probes: AtomicUsize,
    events: Mutex<History>,
    enqueued: Mutex<History>,
    jobs: Mutex<BTreeSet<String>>,
    completed: Mutex<BTreeSet<String>>,
}

impl TenantLoad {
    /// `nodes` are the same credential on every node; `readers` are spread over them, WebSocket and SSE in turn.
    pub fn new(tenant: &str, nodes: Vec<Api>, readers: usize, pace: Duration) -> Self {
        let log = Log::read(&nodes[0], tenant, "");
        assert!(log.events.is_empty(), "{tenant} is not new");
        Self {
            tenant: tenant.to_owned(),
            epoch: log.epoch,
            nodes,
            pace,
            reached: (0..readers).map(|_| AtomicU64::new(0)).collect(),
            head: AtomicU64::new(0),
            acknowledged: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            probes: AtomicUsize::new(0),
            events: Mutex::default(),
            enqueued: Mutex::default(),
            jobs: Mutex::default(),
            completed: Mutex::default(),
        }
    }

    /// On every node a publisher with keys and a worker; over all nodes a publisher without keys and an
    /// enqueuer; and the readers.
    pub(super) fn spawn<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        stage: &'scope Stage,
    ) -> Running<'scope> {
        let nodes = 0..self.nodes.len();
        let keyed = nodes.clone().map(|node| scope.spawn(move || self.publish_keyed(node, stage)));
        let workers = nodes.map(|node| scope.spawn(move || self.work(node, stage))).collect();
        let mut producers: Vec<_> = keyed.collect();
        producers.push(scope.spawn(move || self.publish_unsure(stage)));
        producers.push(scope.spawn(move || self.enqueue(stage)));
        let readers = 0..self.reached.len();
        let readers = readers.map(|n| scope.spawn(move || self.follow(n, stage))).collect();
        Running { producers, workers, readers }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    fn insist(
        &self,
        first: usize,
        stage: &Stage,
        call: impl Fn(&mut Session) -> std::io::Result<Reply>,
    ) -> Option<Reply> {
        insist(&self.nodes, first, stage, |refusal| self.note_refusal(refusal), call)
    }

    fn note_refusal(&self, refusal: &Reply) {
        let after = refusal.header("retry-after").and_then(|text| text.parse::<u64>().ok());
        assert!(after.is_some(), "503 without Retry-After: {}", refusal.text());
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn submit(&self, mark: &str) {
        self.events.lock().expect("no holder panics").submit(mark);
    }

    fn acknowledge(&self, mark: &str, reply: &Reply) -> u64 {
        assert_eq!(reply.status, 201, "{}", reply.text());
        let seq = reply.json()["seq"].as_u64().expect("a seq");
        self.events.lock().expect("no holder panics").acknowledge(mark, seq);
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
        seq
    }

    /// A doubtful outcome is repeated until it is known.
    fn publish_keyed(&self, node: usize, stage: &Stage) {
        for n in 0.. {
            if !stage.produces() {
                return;
            }
            let mark = format!("{}-keyed-{node}-{n}", self.tenant);
            self.submit(&mark);
            let Some(reply) = self.insist(node, stage, |s| publish(s, &mark, true)) else { return };
            self.acknowledge(&mark, &reply);
            pause(self.pace);
        }
    }

    /// A doubtful outcome stays doubtful: the event is there once or not at all.
    fn publish_unsure(&self, stage: &Stage) {
        for (n, node) in self.nodes.iter().cycle().enumerate() {
            if !stage.produces() {
                return;
            }
            let mark = format!("{}-unsure-{n}", self.tenant);
            self.submit(&mark);
            match node.session().and_then(|mut s| publish(&mut s, &mark, false)) {
                Ok(reply) if reply.status == 503 => self.note_refusal(&reply),
                Ok(reply) => {
                    self.acknowledge(&mark, &reply);
                }
                Err(_) => {}
            }
            pause(self.pace);
        }
    }

    /// Arrays: all of one or none of it.
    fn enqueue(&self, stage: &Stage) {
        for n in 0.. {
            if !stage.produces() {
                return;
            }
            let marks: Vec<_> = (0..3).map(|i| format!("{}-job-{n}-{i}", self.tenant)).collect();
            let body: Vec<_> = marks.iter().map(|m| job(m)).collect();
            for mark in &marks {
                self.enqueued.lock().expect("no holder panics").submit(mark);
            }
            let send =
                |s: &mut Session| s.post_with("/api/v1/jobs", &[("Idempotency-Key", &marks[0])], &body);
            let Some(reply) = self.insist(n, stage, send) else { return };
            self.take_jobs(&marks, &reply);
            pause(self.pace * 3);
        }
    }

    fn take_jobs(&self, marks: &[String], reply: &Reply) {
        assert!(matches!(reply.status, 200 | 201), "{} {}", reply.status, reply.text());
        for (job, mark) in reply.json()["jobs"].as_array().expect("jobs").iter().zip(marks) {
            let seq = job["seq"].as_u64().expect("a seq");
            self.enqueued.lock().expect("no holder panics").acknowledge(mark, seq);
            let id = job["id"].as_str().expect("an id").to_owned();
            self.jobs.lock().expect("no holder panics").insert(id);
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Leases, reports once and completes. A lease that was lost meanwhile is somebody else's.
    fn work(&self, node: usize, stage: &Stage) {
        let body = json!({ "worker": format!("w{node}"), "types": ["work"], "max": 3, "wait_s": 1 });
        while stage.works() {
            let Some(reply) = self.insist(node, stage, |s| s.post("/api/v1/leases", &body)) else { return };
            for lease in reply.expect(200).json()["leases"].as_array().expect("leases") {
                let token = lease["lease"].as_str().expect("a token");
                let job = lease["job"]["id"].as_str().expect("an id");
                let report = |what: &str, body: Value| {
                    let path = format!("/api/v1/leases/{token}/{what}");
                    self.insist(node, stage, |s| s.post(&path, &body))
                };
                let Some(reply) = report("progress", json!({ "percent": 50 })) else { return };
                assert!(matches!(reply.status, 200 | 202 | 409), "{} {}", reply.status, reply.text());
                let Some(reply) = report("complete", json!({ "result": job })) else { return };
                assert!(matches!(reply.status, 200 | 409), "{} {}", reply.status, reply.text());
                if reply.status == 200 {
                    self.completed.lock().expect("no holder panics").insert(job.to_owned());
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Whether no job waits or runs.
    pub(super) fn is_idle(&self) -> bool {
        let Ok(reply) = self.nodes[0].get("/api/v1/queues") else { return false };
        reply.status == 200
            && reply.json()["queues"]
                .as_array()
                .expect("queues")
                .iter()
                .all(|q| ["scheduled", "queued", "running"].iter().all(|state| q[state] == 0))
    }

    /// Notes where the log ends, now that nothing more comes.
    pub(super) fn find_head(&self) {
        let page = self.nodes[0].get("/api/v1/events?limit=1").expect("answers").expect(200).json();
        self.head.store(page["head"].as_u64().expect("a head"), Ordering::Release);
    }

    /// Reads live through every fault, until the head is reached when all is done.
    fn follow(&self, n: usize, stage: &Stage) -> Follower {
        let api = self.nodes[n % self.nodes.len()].clone();
        let transport = if (n / self.nodes.len()).is_multiple_of(2) { Transport::Ws } else { Transport::Sse };
        let mut follower = Follower::from_start(api, transport, "verbosity=detail");
        while !stage.is_aborted() {
            let step = follower.step(Duration::from_millis(250)).expect("a stream as documented");
            if step == Step::Disconnected {
                pause(Duration::from_millis(50));
            }
            let last = follower.events.last().map_or(0, |e| e.0);
            self.reached[n].store(last, Ordering::Release);
            if stage.reads_to_head() && last >= self.head.load(Ordering::Acquire) {
                break;
            }
        }
        follower
    }

    /// Publishes on each node until it acknowledges.
    ///
    /// # Panics
    /// When it does not before the deadline.
    pub(super) fn probe(&self, deadline: Instant) {
        for (node, api) in self.nodes.iter().enumerate() {
            let mark = format!("{}-probe-{}", self.tenant, self.probes.fetch_add(1, Ordering::Relaxed));
            self.submit(&mark);
            let what = format!("node {node} to acknowledge for {} again", self.tenant);
            let reply = wait::until(&what, deadline.saturating_duration_since(Instant::now()), || {
                let reply = api.session().and_then(|mut s| publish(&mut s, &mark, true)).ok()?;
                (reply.status != 503).then_some(reply)
            });
            self.acknowledge(&mark, &reply);
        }
    }

    /// Every reader has everything that was acknowledged until now.
    pub(super) fn assert_reached(&self, deadline: Instant) {
        let seq = self.events.lock().expect("no holder panics").last_acknowledged();
        let behind = || {
            let reached = self.reached.iter().map(|r| r.load(Ordering::Acquire));
            reached.enumerate().filter(|(_, reached)| *reached < seq).collect::<Vec<_>>()
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let found = wait::is_true_within(left, || behind().is_empty());
        assert!(found, "readers of {} behind {seq} in time: {:?}", self.tenant, behind());
    }

    /// Acknowledged ⊆ stored ⊆ submitted, each once, at the number that was told; every job ended exactly
    /// once, and as it was acknowledged; every reader got the whole log, in order, with its very bytes; and
    /// the history is the same as at the start.
    pub fn judge(&self, readers: &[Follower]) {
        let log = Log::read(&self.nodes[0], &self.tenant, "verbosity=detail");
        assert_eq!(log.epoch, self.epoch, "a fault is no restore");
        log.assert_orderly();
        let mark = |value: &Value| value["mark"].as_str().map(str::to_owned);
        self.events.lock().expect("no holder panics").assert_holds(&log, |e| mark(&e["data"]));
        self.enqueued.lock().expect("no holder panics").assert_holds(&log, |e| {
            (e["type"] == "job.queued").then(|| mark(&e["data"]["payload"])).flatten()
        });
        let ends = log.assert_each_job_ended_once(&self.jobs.lock().expect("no holder panics"));
        for job in self.completed.lock().expect("no holder panics").iter() {
            let end = ends.get(job).map(String::as_str);
            assert_eq!(end, Some("job.completed"), "an acknowledged completion of {job}");
        }
        for (n, reader) in readers.iter().enumerate() {
            log.assert_delivered_whole(&format!("reader {n} of {}", self.tenant), &reader.events);
            let resets = reader.signals.iter().filter(|s| s["type"] == "stream.reset");
            assert_eq!(resets.count(), 0, "{:?}", reader.signals);
        }
    }
}

fn publish(session: &mut Session, mark: &str, keyed: bool) -> std::io::Result<Reply> {
    let headers: &[_] = if keyed { &[("Idempotency-Key", mark)] } else { &[] };
    session.post_with("/api/v1/events", headers, &json!({ "type": "note.made", "data": { "mark": mark } }))
}

fn job(mark: &str) -> Value {
    json!({
        "type": "work", "payload": { "mark": mark }, "max_attempts": 100,
        "backoff": { "base": "50ms", "max": "200ms" },
    })
}
