//! Many at once: more than there is room for, and all of them sent away.

use std::{
    net::Ipv4Addr,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tidings_tests::{
    Api, Server, ServerOptions, Stream, StreamRequest,
    memory::Memory,
    stream::Live,
    wait::{self, LONG, pause},
};

/// Threads that open connections.
const CALLERS: usize = 8;

const fn transport(n: usize) -> Live {
    if n.is_multiple_of(2) { Live::Ws } else { Live::Sse }
}

/// The `n`th of two hundred addresses of this machine.
pub(crate) const fn address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 7, (n % 200) as u8 + 1)
}

/// Has the system give this process and the servers that it starts so many descriptors: a thousand connections take a shell's usual share.
pub(crate) fn take_descriptors(count: usize) {
    let limit = format!("--nofile={count}:");
    let status = Command::new("prlimit").args(["--pid", &std::process::id().to_string(), &limit]).status();
    assert!(
        status.expect("prlimit is there (Debian: util-linux)").success(),
        "{count} descriptors are needed"
    );
}

fn publish(api: &Api) -> u64 {
    let event = json!({ "type": "a.b", "data": 1 });
    let reply = api.post("/api/v1/events", &event).expect("answers").expect(201).json();
    reply["seq"].as_u64().expect("a seq")
}

/// Does `attempt` for every number below `count`, several at once.
fn all_at_once<T: Send>(count: usize, attempt: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let run = || {
        let numbers =
            std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < count));
        numbers.map(&attempt).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(run)).collect();
        callers.into_iter().flat_map(|caller| caller.join().expect("a caller ends well")).collect()
    })
}

fn live_connections(server: &Server) -> f64 {
    ["websocket_connections_active", "sse_connections_active"]
        .into_iter()
        .filter_map(|name| server.metric(name, ""))
        .sum()
}

fn refused_connections(server: &Server) -> f64 {
    ["websocket_connections_rejected_total", "sse_connections_rejected_total"]
        .into_iter()
        .filter_map(|name| server.metric(name, ""))
        .sum()
}

#[test]
fn of_ten_thousand_attempts_a_thousand_are_held_and_nine_thousand_refused() {
    const CAP: usize = 1_000;
    const ATTEMPTS: usize = 10_000;
    take_descriptors(8_192);
    let server = ServerOptions::new().set("limits.connections", CAP).start();
    let api = server.tenant("acme");
    // The first of the thousand is the canary's.
    let mut canary = StreamRequest::new(Live::Ws).since(0).open(&api);
    let (flooding, beats) = (AtomicBool::new(true), AtomicUsize::new(0));
    let outcomes = thread::scope(|scope| {
        scope.spawn(|| {
            while flooding.load(Ordering::Relaxed) {
                let seq = publish(&api);
                assert_eq!(canary.event().0, seq, "the canary misses nothing");
                beats.fetch_add(1, Ordering::Relaxed);
            }
        });
        let outcomes = all_at_once(ATTEMPTS - 1, |n| {
            StreamRequest::new(transport(n)).try_open(&api).expect("every attempt is answered")
        });
        flooding.store(false, Ordering::Relaxed);
        outcomes
    });
    assert!(beats.load(Ordering::Relaxed) > 0);
    let (held, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((held.len(), refused.len()), (CAP - 1, ATTEMPTS - CAP));
    for reply in refused.into_iter().filter_map(Result::err) {
        let problem = reply.expect_problem(503);
        assert_eq!(problem["type"], "urn:tidings:problem:too-many-connections", "{problem}");
        assert!(reply.header("retry-after").is_some_and(|r| r.parse::<u64>().is_ok()), "{:?}", reply.headers);
    }
    assert_eq!(
        refused_connections(&server) as usize,
        ATTEMPTS - CAP,
        "the metrics say what was counted here"
    );
    assert_eq!(live_connections(&server) as usize, CAP);
    // Who is in hears what is said now.
    let seq = publish(&api);
    let held: Vec<Stream> = held.into_iter().filter_map(Result::ok).chain([canary]).collect();
    let held = all_heard(held, seq);
    let held = match crate::soak() {
        Some(length) => {
            let _alone = crate::alone();
            under_attempts_without_end(&server, &api, held, length)
        }
        None => held,
    };
    // All places come back, and no more than them.
    drop(held);
    wait::until_true("all places to be free", LONG, || live_connections(&server) == 0.0);
    let again = all_at_once(CAP, |n| StreamRequest::new(transport(n)).open(&api));
    let beyond = StreamRequest::new(Live::Sse).try_open(&api).expect("answers");
    let _ = beyond.expect_err("there are a thousand").expect_problem(503);
    drop(again);
}

/// The server is full for as long, and attempts go on: its memory does not grow.
fn under_attempts_without_end(
    server: &Server,
    api: &Api,
    mut held: Vec<Stream>,
    length: Duration,
) -> Vec<Stream> {
    const MIB: f64 = 1_048_576.0;
    /// Events that fill what the server keeps of a tenant's last ones, so that this is no growth.
    const FILLING: usize = 300;
    let (small, padded) = ("x".to_owned(), "x".repeat(4_000));
    // And another tenant's, whom nobody follows, fill the store's own caches: 64 MiB.
    let other = server.tenant("other");
    let batch = vec![json!({ "type": "a.b", "data": padded }); 200];
    for _ in 0..100 {
        let _ = other.post("/api/v1/events", &batch).expect("answers").expect(201);
    }
    let publish = |data: &str| {
        let event = json!({ "type": "a.b", "data": data });
        api.post("/api/v1/events", &event).expect("answers").expect(201).json()["seq"]
            .as_u64()
            .expect("a seq")
    };
    for _ in 0..FILLING {
        held = all_heard(held, publish(&padded));
    }
    let (start, refused, mut memory) = (Instant::now(), AtomicUsize::new(0), Memory::default());
    let attempts = |mut n: usize| {
        while start.elapsed() < length {
            let outcome = StreamRequest::new(transport(n)).try_open(api).expect("every attempt is answered");
            let _ = outcome.expect_err("it is full").expect_problem(503);
            refused.fetch_add(1, Ordering::Relaxed);
            n += 1;
        }
    };
    let held = thread::scope(|scope| {
        for caller in 0..CALLERS {
            scope.spawn(move || attempts(caller));
        }
        while start.elapsed() < length {
            held = all_heard(held, publish(&small));
            memory.look(server);
            pause(Duration::from_secs(1));
        }
        held
    });
    let (refused, growth) = (refused.into_inner(), memory.slope());
    let percent = growth / memory.last() * 100.0;
    eprintln!(
        "{refused} attempts refused in {length:?}; memory {:.1} MiB, over the last half {:+.2} MiB ({percent:+.2} %) an hour",
        memory.last() / MIB,
        growth / MIB
    );
    // In a shorter time a few pages are more than that: in 150 s, 70 KiB.
    if length >= Duration::from_mins(10) {
        assert!(percent < 1.0, "memory grows");
    }
    held
}

/// Reads each up to the event `seq`.
fn all_heard(mut streams: Vec<Stream>, seq: u64) -> Vec<Stream> {
    for stream in &mut streams {
        while stream.event().0 < seq {}
    }
    streams
}

/// At the limits that are shipped.
#[test]
fn from_two_hundred_addresses_each_limit_bites_where_the_table_says() {
    // Five places of the thousand are left.
    const USERS: usize = 199;
    take_descriptors(8_192);
    let shipped = [
        ("limits.connections_per_ip", "10"),
        ("limits.upgrades_per_ip", "10/s"),
        ("limits.connections_per_user", "5"),
    ];
    let options =
        shipped.into_iter().fold(ServerOptions::new(), |options, (key, value)| options.set(key, value));
    let server = options.start();
    server.tenant("acme");
    let users = all_at_once(USERS, |n| (n, server.user("acme", &format!("user-{n}"), "events:read")));
    let open = |user: &Api, from: usize, n: usize| {
        StreamRequest::new(transport(n)).from(address(from)).try_open(user).expect("answers")
    };
    // Each user from an address of its own: five of seven.
    let by_user = all_at_once(USERS, |u| {
        let (n, user) = &users[u];
        (0..7).map(|attempt| open(user, *n, attempt)).collect::<Vec<_>>()
    });
    for outcomes in &by_user {
        let taken: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(taken, [true, true, true, true, true, false, false]);
        for reply in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert_eq!(reply.expect_problem(429)["type"], "urn:tidings:problem:connections-limited");
        }
    }
    assert_eq!((live_connections(&server), refused_connections(&server)), (995.0, 398.0));
    // With those of one more user all are taken.
    let last = |user: &str, from: u8| {
        let request = StreamRequest::new(Live::Ws).from(Ipv4Addr::new(127, 0, 8, from));
        request.try_open(&server.user("acme", user, "events:read")).expect("answers")
    };
    let held: Vec<_> = (0..5).map(|_| last("last", 1).expect("there is a place")).collect();
    let _ = last("late", 2).expect_err("it is full").expect_problem(503);
    drop((held, by_user));
    wait::until_true("all places to be free", LONG, || live_connections(&server) == 0.0);
    // Three users behind each of fifty addresses: ten of twelve, whoever they are.
    let by_address = all_at_once(50, |a| {
        let place = |n: usize| Ipv4Addr::new(127, 0, 9, n as u8 + 1);
        let attempt = |n: usize| {
            let request = StreamRequest::new(transport(n)).from(place(a));
            request.try_open(&users[a * 3 + n % 3].1).expect("answers").map_err(|reply| reply.status)
        };
        (0..12).map(attempt).collect::<Vec<_>>()
    });
    for outcomes in &by_address {
        let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert_eq!(refused, [&429, &429]);
        assert!(outcomes[..10].iter().all(Result::is_ok), "the first ten");
    }
    drop(by_address);
    wait::until_true("all places to be free", LONG, || live_connections(&server) == 0.0);
}
