//! Producers never wait for consumers, and a slow consumer loses nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tidings_testkit::Netns;
use tidings_tests::{
    Api, Message, Server, ServerOptions, Stream, StreamRequest,
    history::Log,
    stream::Live,
    wait::{self, LONG, pause},
};

const PER_SECOND: u32 = 1_000;

/// Publishes about [`PER_SECOND`] events a second, in small batches as a backend would, until told to stop.
fn publish(api: &Api, publishing: &AtomicBool, published: &AtomicU64) {
    let mut session = api.session().expect("connects");
    let padding = "x".repeat(300);
    let start = Instant::now();
    for n in 0_u32.. {
        if !publishing.load(Ordering::Relaxed) {
            return;
        }
        let batch: Vec<_> = (0..20)
            .map(|i| json!({ "type": "tick.made", "data": { "n": n * 20 + i, "p": padding } }))
            .collect();
        let _ = session.post("/api/v1/events", &batch).expect("a publisher is never refused").expect(201);
        published.fetch_add(20, Ordering::Relaxed);
        let due = start + Duration::from_secs(1) * (n + 1) * 20 / PER_SECOND;
        pause(due.saturating_duration_since(Instant::now()));
    }
}

#[test]
fn an_event_stream_whose_client_is_gone_without_a_word_gives_its_place_back() {
    let netns = Arc::new(Netns::start());
    let server = ServerOptions::new()
        .inside(&netns)
        .set("live.stall", "1s")
        .set("live.heartbeat", "500ms")
        .set("limits.connections", 1)
        .start();
    let api = server.tenant("acme");
    let mut gone = StreamRequest::new(Live::Sse).open(&api);
    let _ = gone.control("stream.open");
    netns.cut(gone.wire().local_addr());
    let refused = StreamRequest::new(Live::Sse).try_open(&api).expect("answers").expect_err("it is full");
    assert_eq!(refused.status, 503);
    // It sends nothing, so that only what it does not acknowledge tells; the kernel would try for 15 minutes.
    wait::until_true("the place to be free", LONG, || {
        StreamRequest::new(Live::Sse).try_open(&api).is_ok_and(|answer| answer.is_ok())
    });
}

#[test]
fn a_slow_websocket_is_cut_and_recovers_every_event() {
    slow_reader(Live::Ws);
}

#[test]
fn a_slow_event_stream_is_cut_and_recovers_every_event() {
    slow_reader(Live::Sse);
}

fn slow_reader(live: Live) {
    let _alone = crate::alone();
    let server = ServerOptions::new().set("live.stall", "10s").start();
    let api = server.tenant("acme");
    let (publishing, published) = (AtomicBool::new(true), AtomicU64::new(0));
    let mut got = Vec::new();
    let (brisk, resume) = thread::scope(|scope| {
        // Also when an assertion below fails, the others must end.
        let _stop = StopOnDrop(&publishing);
        let mut slow = StreamRequest::new(live).since(0).narrow(4 * 1024).open(&api);
        let brisk = scope.spawn(|| read_briskly(&api, &publishing, &published));
        scope.spawn(|| publish(&api, &publishing, &published));
        let code = take_one_a_second(&server, live, &mut slow, &mut got);
        assert!(matches!(code, None | Some(4408)), "{code:?}");
        let at_cut = published.load(Ordering::Relaxed);
        assert!(at_cut > got.len() as u64 + 1_000, "{at_cut}: it was cut for being behind");
        wait::until_true("publishers to carry on", LONG, || {
            published.load(Ordering::Relaxed) > at_cut + 1_000
        });
        publishing.store(false, Ordering::Relaxed);
        (brisk.join().expect("the brisk reader ends well"), slow.cursor().expect("a cursor").to_owned())
    });
    let log = Log::read(&api, "acme", "");
    assert_eq!(log.events.len() as u64, published.load(Ordering::Relaxed));
    log.assert_delivered("the brisk reader", &brisk, |_| true);
    let head = log.events.len() as u64;
    let mut again = StreamRequest::new(live).since(resume).open(&api);
    while got.last().is_none_or(|(seq, _)| *seq < head) {
        got.push(again.event());
    }
    log.assert_delivered("the slow reader", &got, |_| true);
}

/// Reads live until everything published has come.
fn read_briskly(api: &Api, publishing: &AtomicBool, published: &AtomicU64) -> Vec<(u64, String)> {
    let (mut stream, mut got) = (StreamRequest::new(Live::Ws).since(0).open(api), Vec::new());
    loop {
        match stream.next(Duration::from_millis(200)) {
            Ok(Message::Event { seq, raw }) => got.push((seq, raw)),
            Ok(Message::Control(value)) => assert_ne!(value["type"], "stream.lagged", "{value}"),
            Ok(Message::Closed(code)) => panic!("a client that reads was cut with {code:?}"),
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::TimedOut, "{e}"),
        }
        // The publisher counts after its answer, so that the last batch may be here first.
        if !publishing.load(Ordering::Relaxed) && published.load(Ordering::Relaxed) == got.len() as u64 {
            return got;
        }
    }
}

/// Reads one message a second until the server gives the connection up; then drains freely, to its end.
fn take_one_a_second(
    server: &Server,
    live: Live,
    slow: &mut Stream,
    got: &mut Vec<(u64, String)>,
) -> Option<u16> {
    let closed = || {
        let name = if live == Live::Ws {
            "websocket_connections_closed_total"
        } else {
            "sse_connections_closed_total"
        };
        server.metric(name, "").is_some_and(|n| n >= 1.0)
    };
    let deadline = Instant::now() + LONG * 3;
    let mut wait = Duration::from_secs(1);
    loop {
        assert!(Instant::now() < deadline, "a reader of one message a second was never cut");
        match slow.next(LONG) {
            Ok(Message::Event { seq, raw }) => got.push((seq, raw)),
            Ok(Message::Control(_)) => {}
            Ok(Message::Closed(code)) => return code,
            Err(e) => panic!("neither a message nor an end: {e}"),
        }
        if !wait.is_zero() {
            pause(wait);
            wait = if closed() { Duration::ZERO } else { wait };
        }
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn a_slow_client_may_be_caught_up_from_the_log_instead() {
    let server = ServerOptions::new().set("live.slow_clients", "catch_up").set("limits.lag", 100).start();
    let api = server.tenant("acme");
    let mut slow = StreamRequest::new(Live::Ws).since(0).narrow(4 * 1024).open(&api);
    let padding = "x".repeat(500);
    let batch: Vec<_> = (0..1_000).map(|_| json!({ "type": "tick.made", "data": padding })).collect();
    for _ in 0..5 {
        let _ = api.post("/api/v1/events", &batch).expect("answers").expect(201);
    }
    let log = Log::read(&api, "acme", "");
    let got: Vec<_> = (0..5_000).map(|_| slow.event()).collect();
    log.assert_delivered("the slow client", &got, |_| true);
}
