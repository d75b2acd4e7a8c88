//! Many who all have something to do: nobody is left out, nobody is behind, and the metrics are what was counted here.

mod requests;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidings_tests::{
    Api, Reply, Server, ServerOptions, Session, StreamRequest,
    crowd::Crowd,
    follower::Page,
    history::Log,
    server::Scrape,
    stream::Live,
    wait::{self, LONG, pause},
};

use crate::flood::take_descriptors;

const SHORT: Duration = Duration::from_secs(4);

fn length() -> Duration {
    crate::soak().unwrap_or(SHORT)
}

fn start(connections: usize) -> (Server, Api) {
    take_descriptors(8_192);
    let server = ServerOptions::new().set("limits.connections", connections).start();
    let api = server.tenant("acme");
    (server, api)
}

/// As many on each transport, who read everything from the first event on.
fn gather(api: &Api, clients: usize) -> Crowd {
    let live = |n: usize| if n.is_multiple_of(2) { Live::Ws } else { Live::Sse };
    let requests = (0..clients).map(|n| StreamRequest::new(live(n)).since(0));
    Crowd::gather(std::slice::from_ref(api), requests)
}

/// What was done here, to be held against the metrics.
struct Books<'a> {
    server: &'a Server,
    before: Scrape,
    answers: Mutex<BTreeMap<u16, usize>>,
}

impl<'a> Books<'a> {
    /// From here on.
    fn open(server: &'a Server) -> Self {
        Self { server, before: server.scrape(), answers: Mutex::default() }
    }

    fn note(&self, status: u16, count: usize) {
        *self.answers.lock().expect("no holder panics").entry(status).or_default() += count;
    }

    /// Notes an answer, which must be this one.
    #[track_caller]
    fn noted(&self, reply: std::io::Result<Reply>, status: u16) -> Reply {
        let reply = reply.expect("answers").expect(status);
        self.note(status, 1);
        reply
    }

    fn counted(&self, name: &str, labels: &str) -> usize {
        let of = |scrape: &Scrape| scrape.get(name, labels).unwrap_or_default() as usize;
        of(&self.server.scrape()) - of(&self.before)
    }

    /// Streams that were opened here, and stayed.
    fn note_streams(&self, clients: usize) {
        self.note(101, clients / 2);
        self.note(200, clients / 2);
    }

    /// Holds all against the metrics: answers by status, events, deliveries, jobs by what happened to them, streams; and nobody lagged. The
    /// crowd leaves on the way.
    fn close(self, crowd: Crowd, clients: usize, events: usize, jobs: usize) {
        let delivered = crowd.events() as usize;
        let both = |rest: &str, labels: &str| {
            ["websocket", "sse"].map(|transport| self.counted(&format!("{transport}_{rest}"), labels))
        };
        let sum = |rest: &str, labels: &str| both(rest, labels).into_iter().sum::<usize>();
        // A server tells of what it wrote when it has written it.
        wait::is_true_within(LONG, || sum("messages_sent_total", "") == delivered);
        assert_eq!(sum("messages_sent_total", ""), delivered, "events delivered");
        assert_eq!(delivered, clients * (events + 3 * jobs), "to everybody");
        assert_eq!(both("lag_total", ""), [0, 0]);
        assert_eq!(self.counted("events_published_total", ""), events, "events published");
        for event in ["queued", "started", "completed"] {
            assert_eq!(self.counted("jobs_transitions_total", &format!("\"{event}\"")), jobs, "jobs {event}");
        }
        assert_eq!(self.counted("jobs_transitions_total", ""), 3 * jobs);
        let answers = self.answers.lock().expect("no holder panics").clone();
        for (status, count) in &answers {
            let labels = format!("status=\"{status}\"");
            assert_eq!(self.counted("http_requests_total", &labels), *count, "answers {status}");
        }
        assert_eq!(self.counted("http_requests_total", ""), answers.values().sum::<usize>(), "{answers:?}");
        assert_eq!(both("connections_total", ""), [clients / 2; 2]);
        assert_eq!(both("connections_total", "success"), [clients / 2; 2]);
        assert_eq!(both("connections_closed_total", ""), [0, 0], "nobody was sent away");
        assert_eq!(both("connections_active", ""), [clients / 2; 2]);
        let partings: usize = crowd.records().iter().map(|record| record.partings.len()).sum();
        assert_eq!(partings, 0);
        drop(crowd);
        wait::until_true("all to be gone", LONG, || both("connections_active", "") == [0, 0]);
        assert_eq!(both("connections_closed_total", ""), [clients / 2; 2]);
    }
}

fn seq(reply: &Reply) -> u64 {
    reply.json()["seq"].as_u64().expect("a seq")
}

/// Says when each of so many a second is due, by the clock: who is slow is not spared.
struct Clock {
    start: Instant,
    rate: f64,
    length: Duration,
}

impl Clock {
    fn new(rate: f64) -> Self {
        Self { start: Instant::now(), rate, length: length() }
    }

    fn count(&self) -> usize {
        (self.rate * self.length.as_secs_f64()) as usize
    }

    fn await_turn(&self, n: usize) {
        let due = self.start + Duration::from_secs_f64(n as f64 / self.rate);
        while let Some(early) = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
            pause(early);
        }
    }
}

/// Takes and completes jobs until told to stop.
fn work(api: &Api, books: &Books<'_>, done: &AtomicUsize, stop: &AtomicBool) {
    let mut session = api.session().expect("connects");
    let wanted = json!({ "worker": "w", "types": ["embed"], "max": 5, "wait_s": 1 });
    while !stop.load(Ordering::Relaxed) {
        let leases = books.noted(session.post("/api/v1/leases", &wanted), 200).json();
        for lease in leases["leases"].as_array().expect("leases") {
            let path = format!("/api/v1/leases/{}/complete", lease["lease"].as_str().expect("a token"));
            let _ = books.noted(session.post(&path, &json!({ "result": 1 })), 200);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn enqueue(session: &mut Session, books: &Books<'_>) {
    let _ = books.noted(session.post("/api/v1/jobs", &json!({ "type": "embed" })), 201);
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_thousand_clients_follow_a_thousand_jobs_a_minute() {
    const CLIENTS: usize = 1_000;
    const WORKERS: usize = 4;
    let _alone = crate::alone();
    let (server, api) = start(CLIENTS);
    let books = Books::open(&server);
    let crowd = gather(&api, CLIENTS);
    books.note_streams(CLIENTS);
    let (done, stop, clock) = (AtomicUsize::new(0), AtomicBool::new(false), Clock::new(1_000.0 / 60.0));
    let jobs = clock.count();
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for _ in 0..WORKERS {
            scope.spawn(|| work(&api, &books, &done, &stop));
        }
        let mut session = api.session().expect("connects");
        for n in 0..jobs {
            clock.await_turn(n);
            enqueue(&mut session, &books);
        }
        wait::until_true("all jobs to be done", LONG, || done.load(Ordering::Relaxed) == jobs);
    });
    crowd.await_event(3 * jobs as u64, LONG);
    println!("{jobs} jobs, {} events delivered", crowd.events());
    books.close(crowd, CLIENTS, 0, jobs);
}

#[test]
fn of_five_hundred_clients_none_lags_behind_a_steady_rate() {
    const CLIENTS: usize = 500;
    const RATE: f64 = 50.0;
    let _alone = crate::alone();
    let (server, api) = start(CLIENTS);
    let books = Books::open(&server);
    let crowd = gather(&api, CLIENTS);
    books.note_streams(CLIENTS);
    let event = json!({ "type": "tick.made", "data": { "padding": "x".repeat(300) } });
    let (clock, mut last, mut furthest) = (Clock::new(RATE), 0, 0.0_f64);
    let mut session = api.session().expect("connects");
    for n in 0..clock.count() {
        clock.await_turn(n);
        last = seq(&books.noted(session.post("/api/v1/events", &event), 201));
        if n % 50 == 0 {
            let share = server.metric("broadcast_channel_utilization", "").expect("it is told");
            furthest = furthest.max(share);
        }
    }
    crowd.await_event(last, LONG);
    println!("{last} events at {RATE} a second; the furthest behind was at {furthest:.3} of the limit");
    assert!(furthest < 0.8, "an operator would have been alerted");
    books.close(crowd, CLIENTS, last as usize, 0);
}

/// What each of a hundred does: there are fifty streams beside these.
#[derive(Debug, Clone, Copy)]
enum Role {
    Publisher,
    Enqueuer,
    Worker,
    Poller,
}

#[test]
fn a_hundred_of_all_kinds_get_along() {
    const STREAMS: usize = 50;
    let roles = [(Role::Publisher, 15), (Role::Enqueuer, 10), (Role::Worker, 10), (Role::Poller, 15)];
    let _alone = crate::alone();
    let (server, api) = start(STREAMS);
    let books = Books::open(&server);
    let crowd = gather(&api, STREAMS);
    books.note_streams(STREAMS);
    let (done, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (events, jobs) = thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        let (api, books, done, stop) = (&api, &books, &done, &stop);
        let mut makers = Vec::new();
        for role in roles.iter().flat_map(|(role, count)| std::iter::repeat_n(*role, *count)) {
            match role {
                Role::Publisher | Role::Enqueuer => makers.push(scope.spawn(move || make(role, api, books))),
                Role::Worker => drop(scope.spawn(|| work(api, books, done, stop))),
                Role::Poller => drop(scope.spawn(|| poll(api, books))),
            }
        }
        let made = makers.into_iter().map(|maker| maker.join().expect("a maker ends well"));
        let (events, jobs) = made.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        wait::until_true("all jobs to be done", LONG, || done.load(Ordering::Relaxed) == jobs);
        // Pollers read up to this one.
        let _ = books.noted(api.post("/api/v1/events", &json!({ "type": "tick.last" })), 201);
        (events + 1, jobs)
    });
    crowd.await_event((events + 3 * jobs) as u64, LONG);
    println!("{events} events and {jobs} jobs; {} events delivered", crowd.events());
    books.close(crowd, STREAMS, events, jobs);
    let log = Log::read(&api, "acme", "");
    assert_eq!(log.events.len(), events + 3 * jobs);
}

/// Five a second. Events, jobs.
fn make(role: Role, api: &Api, books: &Books<'_>) -> (usize, usize) {
    let (clock, mut session) = (Clock::new(5.0), api.session().expect("connects"));
    for n in 0..clock.count() {
        clock.await_turn(n);
        if matches!(role, Role::Enqueuer) {
            enqueue(&mut session, books);
        } else {
            let _ =
                books.noted(session.post("/api/v1/events", &json!({ "type": "tick.made", "data": n })), 201);
        }
    }
    if matches!(role, Role::Enqueuer) { (0, clock.count()) } else { (clock.count(), 0) }
}

/// Follows the log by long polls to its last event: each is the one after that before.
fn poll(api: &Api, books: &Books<'_>) {
    let (mut session, mut next, mut head) = (api.session().expect("connects"), "0".to_owned(), 0);
    loop {
        let path = format!("/api/v1/events?since={next}&limit=1000&wait=5");
        let page = books.noted(session.get(&path), 200);
        let page = Page::parse(&page.body).expect("a page");
        for (seq, raw) in page.events {
            assert_eq!(seq, head + 1, "every event, in order");
            head = seq;
            if serde_json::from_str::<Value>(&raw).expect("JSON")["type"] == "tick.last" {
                return;
            }
        }
        next = page.next;
    }
}
