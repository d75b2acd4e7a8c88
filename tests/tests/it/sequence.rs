//! Two clients of different transports and a replay read the identical sequence, byte for byte, over
//! many random schedules of disconnects, filters and restarts.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde_json::{Value, json};
use tidings_tests::{
    Api, Follower, Server, ServerOptions, Transport,
    follower::Step,
    history::Log,
    seed,
    wait::{LONG, pause},
};

/// A filter as the query says it, and what it means, written down apart from the server.
struct Filter {
    query: &'static str,
    admits: fn(&Value) -> bool,
}

fn starts(event: &Value, key: &str, prefix: &str) -> bool {
    event[key].as_str().is_some_and(|t| t.starts_with(prefix))
}

const FILTERS: [Filter; 8] = [
    Filter { query: "", admits: |_| true },
    Filter { query: "types=note.*", admits: |e| starts(e, "type", "note.") },
    Filter {
        query: "types=job.*,page.made",
        admits: |e| starts(e, "type", "job.") || e["type"] == "page.made",
    },
    Filter { query: "subject=note/*", admits: |e| starts(e, "subject", "note/") },
    Filter {
        query: "subject=note/1&subject=page/2",
        admits: |e| e["subject"] == "note/1" || e["subject"] == "page/2",
    },
    Filter { query: "job_type=embed", admits: |e| e["job_type"] == "embed" },
    Filter { query: "owner=ana", admits: |e| e["owner"] == "ana" },
    Filter {
        query: "types=job.*&owner=ben&verbosity=detail",
        admits: |e| starts(e, "type", "job.") && e["owner"] == "ben",
    },
];

#[test]
fn all_transports_deliver_identical_bytes_through_disconnects() {
    let mut rng = seed::rng("disconnects");
    let mut server = Server::plain();
    for n in 0..12 {
        schedule(&mut server, &format!("tenant-{n}"), &mut rng, None);
    }
}

#[test]
fn all_transports_deliver_identical_bytes_through_restarts() {
    let mut rng = seed::rng("restarts");
    let mut server = ServerOptions::new().set("drain.timeout", "2s").start();
    for n in 0..8 {
        let restart = if rng.random() { Restart::Kill } else { Restart::Stop };
        schedule(&mut server, &format!("tenant-{n}"), &mut rng, Some(restart));
    }
}

#[derive(Clone, Copy)]
enum Restart {
    Kill,
    Stop,
}

fn schedule(server: &mut Server, tenant: &str, rng: &mut StdRng, restart: Option<Restart>) {
    let api = server.tenant(tenant);
    let filter = FILTERS.choose(rng).expect("there are filters");
    let rounds = rng.random_range(30..80);
    let restart_at = rng.random_range(0..rounds);
    let transports = [Transport::Ws, Transport::Sse, Transport::Replay { limit: rng.random_range(1..40) }];
    let written = AtomicBool::new(false);
    let expected = Mutex::new(None);
    let readers = thread::scope(|scope| {
        let handles = transports.map(|transport| {
            let (api, seed) = (api.clone(), rng.random());
            let (written, expected) = (&written, &expected);
            scope.spawn(move || read(api, transport, filter.query, seed, written, expected))
        });
        let mut jobs = BTreeSet::new();
        for round in 0..rounds {
            write(&api, rng, &mut jobs);
            if round == restart_at {
                match restart {
                    None => {}
                    Some(Restart::Kill) => {
                        server.kill();
                        server.resume();
                    }
                    Some(Restart::Stop) => {
                        server.stop();
                        server.resume();
                    }
                }
            }
        }
        let log = Log::read(&api, tenant, verbosity(filter.query));
        let count = log.reads().filter(|e| (filter.admits)(&e.value)).count();
        *expected.lock().expect("no holder panics") = Some(count);
        written.store(true, Ordering::Release);
        handles.map(|h| h.join().expect("a reader ends well"))
    });
    let log = Log::read(&api, tenant, verbosity(filter.query));
    log.assert_orderly();
    for reader in &readers {
        let who = format!("{tenant} {:?} {:?}", reader.transport, filter.query);
        log.assert_delivered(&who, &reader.events, filter.admits);
        assert!(reader.signals.iter().all(|s| s["type"] == "stream.closing"), "{who}: {:?}", reader.signals);
    }
}

fn verbosity(query: &str) -> &str {
    if query.contains("verbosity=detail") { "verbosity=detail" } else { "" }
}

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(rng).expect("there is one")
}

/// One random thing that makes events.
fn write(api: &Api, rng: &mut StdRng, jobs: &mut BTreeSet<String>) {
    let event = |rng: &mut StdRng| {
        json!({
            "type": (pick(rng, &["note.made", "note.gone", "page.made"])),
            "subject": (pick(rng, &["note/1", "note/2", "page/2"])),
            "owner": (pick(rng, &["ana", "ben"])),
            "data": { "n": rng.random::<u32>(), "text": "line\nline \u{1F4EF} \"quoted\" \\ é", "f": 1.50 },
        })
    };
    match rng.random_range(0..5) {
        0 => drop(api.post("/api/v1/events", &event(rng)).expect("answers").expect(201)),
        1 => {
            let many: Vec<_> = (0..rng.random_range(1..20)).map(|_| event(rng)).collect();
            drop(api.post("/api/v1/events", &many).expect("answers").expect(201));
        }
        2 | 3 => {
            let job = json!({
                "type": (pick(rng, &["embed", "export"])), "owner": (pick(rng, &["ana", "ben"])),
                "subject": (pick(rng, &["note/1", "page/2"])), "payload": { "pages": [1, 2] },
            });
            let job = api.post("/api/v1/jobs", &job).expect("answers").expect(201).json();
            jobs.insert(job["id"].as_str().expect("an id").to_owned());
        }
        _ => work(api, rng),
    }
}

/// Takes what is there, and completes or fails it.
fn work(api: &Api, rng: &mut StdRng) {
    let body = json!({ "worker": "w", "types": ["embed", "export"], "max": 3, "wait_s": 0 });
    let leases = api.post("/api/v1/leases", &body).expect("answers").expect(200).json();
    for lease in leases["leases"].as_array().expect("leases") {
        let path = format!("/api/v1/leases/{}", lease["lease"].as_str().expect("a token"));
        let progress = json!({ "percent": rng.random_range(0..100), "message": "on\nit" });
        let reply = api.post(&format!("{path}/progress"), &progress).expect("answers");
        assert!(matches!(reply.status, 200 | 202), "{} {}", reply.status, reply.text());
        if rng.random() {
            let _ = api
                .post(&format!("{path}/complete"), &json!({ "result": { "ok": true } }))
                .expect("answers")
                .expect(200);
        } else {
            let failure = json!({ "message": "the model is away", "category": "inference", "retry": false });
            let _ = api.post(&format!("{path}/fail"), &failure).expect("answers").expect(200);
        }
    }
}

/// Reads with random hang-ups until it has as many as there are, and a little longer for what is too many.
fn read(
    api: Api,
    transport: Transport,
    query: &str,
    seed: u64,
    written: &AtomicBool,
    expected: &Mutex<Option<usize>>,
) -> Follower {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut follower = Follower::from_start(api, transport, query);
    pause(Duration::from_millis(rng.random_range(0..40)));
    let deadline = Instant::now() + LONG * 2;
    loop {
        assert!(Instant::now() < deadline, "{transport:?} got {} of {expected:?}", follower.events.len());
        let step = follower.step(Duration::from_millis(20)).expect("a stream as documented");
        let complete = written.load(Ordering::Acquire)
            && Some(follower.events.len()) >= *expected.lock().expect("no holder panics");
        match step {
            Step::Nothing if complete => return follower,
            Step::Nothing | Step::Disconnected => pause(Duration::from_millis(5)),
            Step::Events(_) | Step::Control => {}
        }
        if !complete && rng.random_ratio(1, 25) {
            follower.drop_connection();
        }
    }
}
