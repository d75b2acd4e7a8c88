//! Acknowledged means durable: the server is killed at random moments under load.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rand::RngExt as _;
use serde_json::{Value, json};
use tidings_tests::{
    Api, Follower, Reply, ServerOptions, Session, Transport,
    follower::Step,
    history::{History, Log},
    seed,
    wait::{self, LONG, pause},
};

const KILLS: usize = 20;
const TENANTS: [&str; 3] = ["red", "green", "blue"];

/// One tenant's clients and what they know.
struct Load {
    tenant: &'static str,
    api: Api,
    producing: AtomicBool,
    working: AtomicBool,
    acknowledgements: AtomicUsize,
    events: Mutex<History>,
    enqueued: Mutex<History>,
    jobs: Mutex<BTreeSet<String>>,
    completed: Mutex<BTreeSet<String>>,
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_at_random_moments() {
    let _alone = crate::alone();
    let mut rng = seed::rng("crash");
    let mut server = ServerOptions::new().set("jobs.lease", "2s").start();
    let loads = TENANTS.map(|tenant| Load::new(tenant, server.tenant(tenant)));
    let epochs = TENANTS
        .map(|t| Log::read(&server.user(t, "backend", tidings_tests::server::ALL_SCOPES), t, "").epoch);
    let readers = thread::scope(|scope| {
        let readers: Vec<_> = loads
            .iter()
            .enumerate()
            .map(|(i, load)| {
                scope.spawn(|| load.publish("single", true));
                scope.spawn(|| load.publish("unsure", false));
                scope.spawn(|| load.enqueue());
                scope.spawn(|| load.work("one"));
                scope.spawn(|| load.work("two"));
                let transport = if i % 2 == 0 { Transport::Ws } else { Transport::Sse };
                scope.spawn(move || load.follow(transport))
            })
            .collect();
        for _ in 0..KILLS {
            let enough = acknowledged(&loads) + rng.random_range(20..400);
            wait::until_true("some acknowledgements of this life", LONG, || acknowledged(&loads) >= enough);
            pause(Duration::from_millis(rng.random_range(0..300)));
            server.kill();
            server.resume();
        }
        for load in &loads {
            load.producing.store(false, Ordering::Relaxed);
        }
        for load in &loads {
            wait::until_true("all jobs to end", LONG * 4, || load.is_idle());
            load.working.store(false, Ordering::Relaxed);
        }
        readers.into_iter().map(|r| r.join().expect("a reader ends well")).collect::<Vec<_>>()
    });
    for ((load, epoch), reader) in loads.iter().zip(&epochs).zip(&readers) {
        load.judge(epoch, reader);
    }
    println!("crash: {} acknowledgements over {KILLS} kills", acknowledged(&loads));
}

fn acknowledged(loads: &[Load]) -> usize {
    loads.iter().map(|l| l.acknowledgements.load(Ordering::Relaxed)).sum()
}

/// A request that is repeated until the server has an answer to it.
fn insist(api: &Api, call: impl Fn(&mut Session) -> std::io::Result<Reply>) -> Reply {
    loop {
        if let Some(reply) = api.session().and_then(|mut s| call(&mut s)).ok().filter(|r| r.status != 503) {
            return reply;
        }
        pause(Duration::from_millis(10));
    }
}

impl Load {
    fn new(tenant: &'static str, api: Api) -> Self {
        Self {
            tenant,
            api,
            producing: AtomicBool::new(true),
            working: AtomicBool::new(true),
            acknowledgements: AtomicUsize::new(0),
            events: Mutex::default(),
            enqueued: Mutex::default(),
            jobs: Mutex::default(),
            completed: Mutex::default(),
        }
    }

    fn count(&self) {
        self.acknowledgements.fetch_add(1, Ordering::Relaxed);
    }

    fn produces(&self) -> bool {
        self.producing.load(Ordering::Relaxed)
    }

    /// Publishes one at a time. With a key a doubtful outcome is repeated until it is known; without
    /// one it stays doubtful: the event is there once or not at all.
    fn publish(&self, name: &str, keyed: bool) {
        let send = |mark: &str, session: &mut Session| {
            let headers: &[_] = if keyed { &[("Idempotency-Key", mark)] } else { &[] };
            session.post_with(
                "/api/v1/events",
                headers,
                &json!({ "type": "note.made", "data": { "mark": mark } }),
            )
        };
        for n in 0.. {
            if !self.produces() {
                return;
            }
            let mark = format!("{}-{name}-{n}", self.tenant);
            self.events.lock().expect("no holder panics").submit(&mark);
            let reply = if keyed {
                insist(&self.api, |s| send(&mark, s))
            } else {
                let Ok(reply) = self.api.session().and_then(|mut s| send(&mark, &mut s)) else { continue };
                if reply.status == 503 {
                    continue;
                }
                reply
            };
            assert_eq!(reply.status, 201, "{}", reply.text());
            self.events
                .lock()
                .expect("no holder panics")
                .acknowledge(&mark, reply.json()["seq"].as_u64().expect("a seq"));
            self.count();
        }
    }

    /// Enqueues arrays: all of one or none of it.
    fn enqueue(&self) {
        for n in 0.. {
            if !self.produces() {
                return;
            }
            let marks: Vec<_> = (0..3).map(|i| format!("{}-job-{n}-{i}", self.tenant)).collect();
            let body: Vec<_> = marks.iter().map(|m| Self::job(m)).collect();
            for mark in &marks {
                self.enqueued.lock().expect("no holder panics").submit(mark);
            }
            let reply =
                insist(&self.api, |s| s.post_with("/api/v1/jobs", &[("Idempotency-Key", &marks[0])], &body));
            assert!(matches!(reply.status, 200 | 201), "{} {}", reply.status, reply.text());
            for (job, mark) in reply.json()["jobs"].as_array().expect("jobs").iter().zip(&marks) {
                self.enqueued
                    .lock()
                    .expect("no holder panics")
                    .acknowledge(mark, job["seq"].as_u64().expect("a seq"));
                self.jobs
                    .lock()
                    .expect("no holder panics")
                    .insert(job["id"].as_str().expect("an id").to_owned());
                self.count();
            }
        }
    }

    fn job(mark: &str) -> Value {
        json!({
            "type": "work", "payload": { "mark": mark }, "max_attempts": 100,
            "backoff": { "base": "50ms", "max": "200ms" },
        })
    }

    /// Leases, reports once and completes. A lease that was lost meanwhile is somebody else's.
    fn work(&self, name: &str) {
        while self.working.load(Ordering::Relaxed) {
            let body = json!({ "worker": name, "types": ["work"], "max": 3, "wait_s": 1 });
            let reply = insist(&self.api, |s| s.post("/api/v1/leases", &body)).expect(200);
            for lease in reply.json()["leases"].as_array().expect("leases") {
                let token = lease["lease"].as_str().expect("a token");
                let job = lease["job"]["id"].as_str().expect("an id");
                let path = format!("/api/v1/leases/{token}");
                let reply =
                    insist(&self.api, |s| s.post(&format!("{path}/progress"), &json!({ "percent": 50 })));
                assert!(matches!(reply.status, 200 | 202 | 409), "{} {}", reply.status, reply.text());
                let reply =
                    insist(&self.api, |s| s.post(&format!("{path}/complete"), &json!({ "result": job })));
                assert!(matches!(reply.status, 200 | 409), "{} {}", reply.status, reply.text());
                if reply.status == 200 {
                    self.completed.lock().expect("no holder panics").insert(job.to_owned());
                    self.count();
                }
            }
        }
    }

    /// Whether no job waits or runs.
    fn is_idle(&self) -> bool {
        let Ok(reply) = self.api.get("/api/v1/queues") else { return false };
        reply.status == 200
            && reply.json()["queues"]
                .as_array()
                .expect("queues")
                .iter()
                .all(|q| ["scheduled", "queued", "running"].iter().all(|state| q[state] == 0))
    }

    /// Reads live through every kill, until the head is reached when all is done.
    fn follow(&self, transport: Transport) -> Follower {
        let mut follower = Follower::from_start(self.api.clone(), transport, "verbosity=detail");
        loop {
            let step = follower.step(Duration::from_millis(500)).expect("a stream as documented");
            if step == Step::Disconnected {
                pause(Duration::from_millis(10));
            }
            if step != Step::Events(1) && !self.working.load(Ordering::Relaxed) {
                let head = self.api.get("/api/v1/events?limit=1").expect("answers").json()["head"].as_u64();
                if follower.events.last().map(|e| e.0) == head {
                    return follower;
                }
            }
        }
    }

    fn judge(&self, epoch: &str, reader: &Follower) {
        let log = Log::read(&self.api, self.tenant, "verbosity=detail");
        assert_eq!(log.epoch, epoch, "a crash is no restore");
        log.assert_orderly();
        let mark = |value: &Value| value["mark"].as_str().map(str::to_owned);
        self.events.lock().expect("no holder panics").assert_holds(&log, |e| mark(&e["data"]));
        self.enqueued.lock().expect("no holder panics").assert_holds(&log, |e| {
            (e["type"] == "job.queued").then(|| mark(&e["data"]["payload"])).flatten()
        });
        let ends = log.assert_each_job_ended_once(&self.jobs.lock().expect("no holder panics"));
        for job in self.completed.lock().expect("no holder panics").iter() {
            assert_eq!(
                ends.get(job).map(String::as_str),
                Some("job.completed"),
                "an acknowledged completion"
            );
        }
        log.assert_delivered(self.tenant, &reader.events, |_| true);
        assert_eq!(
            reader.signals.iter().filter(|s| s["type"] == "stream.reset").count(),
            0,
            "{:?}",
            reader.signals
        );
        assert!(reader.connections > KILLS / 2, "it was there through the kills: {}", reader.connections);
    }
}
