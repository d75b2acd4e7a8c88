//! A flood at the WebSocket endpoint: who is in does not notice.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{SocketAddr, TcpStream},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::SockRef;
use tidings_tests::{
    Api, Server, ServerOptions, Stream, StreamRequest, socket,
    stream::Live,
    wait::{self, LONG, pause},
};

/// Requests a second, of all callers together.
const RATE: f64 = 10_000.0;
const CALLERS: usize = 8;
const STREAMS: usize = 8;
/// Below this share of the rate there was no such flood: a soak says so by failing.
const OFFERED_MIN: f64 = 0.95;

/// What one connection says in one breath: three requests that are refused and one that decides how it ends.
const REQUESTS: usize = 4;

type Statuses = BTreeMap<u16, u64>;

#[test]
fn a_flood_of_handshakes_is_not_noticed_by_who_is_in_and_every_one_is_counted() {
    let _alone = crate::alone();
    let length = crate::soak().unwrap_or(Duration::from_secs(4));
    let server = ServerOptions::new().set("limits.connections", 4_000).start();
    let api = server.tenant("acme");
    let live = |n: usize| if n.is_multiple_of(2) { Live::Ws } else { Live::Sse };
    let streams: Vec<_> = (0..STREAMS).map(|n| StreamRequest::new(live(n)).since(0).open(&api)).collect();
    let count = |name: &str, labels: &str| server.metric(name, labels).unwrap_or_default() as u64;
    let before = Counted::of(&server);
    let (flooding, sent) = (AtomicBool::new(true), Mutex::new(Vec::new()));
    let (statuses, took, heard) = thread::scope(|scope| {
        let _stop = StopOnDrop(&flooding);
        let listeners: Vec<_> =
            streams.into_iter().map(|stream| scope.spawn(|| listen(stream, &sent))).collect();
        let canary = scope.spawn(|| beat(&api, &flooding, &sent));
        let start = Instant::now();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn({
                    let api = &api;
                    move || call(api, start, length)
                })
            })
            .collect();
        let mut statuses = Statuses::new();
        for (status, n) in callers.into_iter().flat_map(|caller| caller.join().expect("a caller ends well")) {
            *statuses.entry(status).or_default() += n;
        }
        let took = start.elapsed();
        flooding.store(false, Ordering::Relaxed);
        canary.join().expect("every request of the canary is answered");
        let heard: Vec<_> = listeners.into_iter().map(|l| l.join().expect("a stream goes on")).collect();
        (statuses, took, heard)
    });
    let answered: u64 = statuses.values().sum();
    let offered = answered as f64 / took.as_secs_f64();
    let mut latencies: Vec<_> = heard.iter().flat_map(|heard| heard.1.iter().copied()).collect();
    latencies.sort();
    let p95 = latencies[latencies.len() * 95 / 100];
    eprintln!(
        "{offered:.0} requests/s in {took:.1?}: {statuses:?}; {} beats, p95 of streams {p95:.1?}",
        latencies.len() / STREAMS
    );
    // Each of the four is there, and nothing else: no busy, no reset.
    let each = |status| statuses.get(&status).copied().unwrap_or_default();
    assert_eq!(each(401), answered / 2, "{statuses:?}");
    assert_eq!(each(400) + each(101), answered / 2, "{statuses:?}");
    assert!(each(101) > 0 && each(400) > each(101), "{statuses:?}");
    // What was counted here is what the metrics say.
    wait::until_true("all who left to be forgotten", LONG, || count("websocket_connections_active", "") == 0);
    let after = Counted::of(&server);
    assert_eq!(after.accepted - before.accepted, each(101));
    assert_eq!(after.unauthenticated - before.unauthenticated, each(401));
    if crate::soak().is_some() {
        assert!(
            offered >= RATE * OFFERED_MIN,
            "only {offered:.0} requests/s were offered: it proves nothing"
        );
        assert!(p95 <= Duration::from_millis(50), "{p95:?}");
    }
}

struct Counted {
    accepted: u64,
    unauthenticated: u64,
}

impl Counted {
    fn of(server: &Server) -> Self {
        let count = |name: &str, labels: &str| server.metric(name, labels).unwrap_or_default() as u64;
        Self {
            accepted: count("websocket_connections_total", "success"),
            unauthenticated: count("websocket_connections_rejected_total", "auth_fail"),
        }
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Publishes fifty events a second, and asks on a new connection besides. The last event says so.
fn beat(api: &Api, flooding: &AtomicBool, sent: &Mutex<Vec<Instant>>) {
    let mut session = api.session().expect("connects");
    loop {
        let last = !flooding.load(Ordering::Relaxed);
        let n = {
            let mut sent = sent.lock().expect("no holder panics");
            sent.push(Instant::now());
            sent.len() - 1
        };
        let event = json!({ "type": "beat.made", "data": { "n": n, "last": last } });
        let _ = session.post("/api/v1/events", &event).expect("answers").expect(201);
        let _ = api.get("/health/ready").expect("answers").expect(200);
        if last {
            return;
        }
        pause(Duration::from_millis(20));
    }
}

/// Reads to the last event: the number of each is one more than that of the one before.
fn listen(mut stream: Stream, sent: &Mutex<Vec<Instant>>) -> (u64, Vec<Duration>) {
    let (mut head, mut latencies) = (0, Vec::new());
    loop {
        let (seq, raw) = stream.event();
        let now = Instant::now();
        assert_eq!(seq, head + 1, "every event, in order");
        head = seq;
        let data = serde_json::from_str::<Value>(&raw).expect("JSON")["data"].clone();
        let n = data["n"].as_u64().expect("a number") as usize;
        latencies.push(now - sent.lock().expect("no holder panics")[n]);
        if data["last"] == true {
            return (head, latencies);
        }
    }
}

/// One caller's share of the flood: how often each status was the answer.
fn call(api: &Api, start: Instant, length: Duration) -> Statuses {
    let visits = [Visit::new(api, true), Visit::new(api, false)];
    let mut statuses = Statuses::new();
    for n in 0_u32.. {
        let due = start + Duration::from_secs_f64(f64::from(n) * (REQUESTS * CALLERS) as f64 / RATE);
        let now = Instant::now();
        if now >= start + length {
            break;
        }
        pause(due.saturating_duration_since(now));
        visits[n as usize % visits.len()].make(api.addr, &mut statuses);
    }
    statuses
}

/// Two requests without a credential, one with another version, and at last a good one or none at all.
struct Visit(Vec<u8>);

impl Visit {
    fn new(api: &Api, good: bool) -> Self {
        let anonymous = Api::anonymous(api.addr);
        let request = |api: &Api, version: &str| {
            format!(
                "GET /api/v1/ws HTTP/1.1\r\n{}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: {version}\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                api.headers()
            )
        };
        let last =
            if good { request(api, "13") } else { "GET /api/v1/ws HTTP/1.1\r\nno field\r\n\r\n".to_owned() };
        Self(
            [request(&anonymous, "13"), request(&anonymous, "13"), request(api, "12"), last]
                .concat()
                .into_bytes(),
        )
    }

    fn make(&self, addr: SocketAddr, statuses: &mut Statuses) {
        const MARK: &[u8] = b"HTTP/1.1 ";
        let mut stream = TcpStream::connect(addr).expect("connects");
        stream.set_read_timeout(Some(LONG)).expect("a timeout can be set");
        // It ends with a reset, so that no port stays in TIME_WAIT.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger can be set");
        stream.write_all(&self.0).expect("sends");
        let (mut input, mut len) = ([0; 8_192], 0);
        loop {
            let came = socket::read(&mut stream, &mut input[len..]).expect("answers");
            len += came;
            let starts = input[..len].windows(MARK.len()).enumerate().filter(|(_, w)| *w == MARK);
            let found: Vec<u16> = starts
                .filter_map(|(at, _)| {
                    let code = input[..len].get(at + MARK.len()..at + MARK.len() + 3)?;
                    std::str::from_utf8(code).ok()?.parse().ok()
                })
                .collect();
            if found.len() == REQUESTS {
                for status in found {
                    *statuses.entry(status).or_default() += 1;
                }
                return;
            }
            assert!(
                came > 0,
                "{} of {REQUESTS} were answered: {}",
                found.len(),
                String::from_utf8_lossy(&input[..len])
            );
        }
    }
}
