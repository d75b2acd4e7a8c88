//! The cap on live connections, and slow senders.

use serde_json::json;
use tidings_tests::{
    ServerOptions, StreamRequest,
    stream::Live,
    wait::{self, LONG},
    wire::Wire,
};

#[test]
fn connections_beyond_the_cap_are_refused_and_those_within_are_served() {
    const CAP: usize = 50;
    let server = ServerOptions::new().set("limits.connections", CAP).start();
    let api = server.tenant("acme");
    let mut open: Vec<_> = (0..CAP)
        .map(|n| StreamRequest::new(if n % 2 == 0 { Live::Ws } else { Live::Sse }).since(0).open(&api))
        .collect();
    for n in 0..200 {
        let live = if n % 2 == 0 { Live::Ws } else { Live::Sse };
        let refused = StreamRequest::new(live).try_open(&api).expect("answers").expect_err("beyond the cap");
        let _ = refused.expect_problem(503);
        assert!(
            refused.header("retry-after").is_some_and(|r| r.parse::<u64>().is_ok()),
            "{:?}",
            refused.headers
        );
    }
    let _ = api.post("/api/v1/events", &json!({ "type": "a.b", "data": 1 })).expect("answers").expect(201);
    for stream in &mut open {
        assert_eq!(stream.event().0, 1, "who is in is served");
    }
    let refused = server.metric("websocket_connections_rejected_total", "").expect("counted");
    assert!(refused >= 100.0, "{refused}");
    // A place that becomes free is given again.
    open.pop();
    let mut again = wait::until("a free place", LONG, || {
        StreamRequest::new(Live::Ws).since(0).try_open(&api).expect("answers").ok()
    });
    assert_eq!(again.event().0, 1);
}

#[test]
fn a_sender_that_never_finishes_its_head_is_let_go() {
    let server = ServerOptions::new().set("limits.header_timeout", "1s").start();
    let api = server.tenant("acme");
    let mut slow: Vec<_> = (0..50)
        .map(|_| {
            let mut wire = Wire::connect(server.addr, LONG).expect("connects");
            wire.write(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nX-Slow: ").expect("sends");
            wire
        })
        .collect();
    let _ = api.get("/api/v1/events").expect("answers").expect(200);
    for wire in &mut slow {
        assert!(wire.ends(LONG));
    }
}

#[test]
fn a_client_that_answers_no_ping_is_closed_and_one_that_does_stays() {
    let options =
        ServerOptions::new().set("limits.ping_interval", "500ms").set("limits.pong_deadline", "500ms");
    let server = options.set("live.heartbeat", "200ms").start();
    let api = server.tenant("acme");
    let mut mute = StreamRequest::new(Live::Ws).open(&api);
    let mut alive = StreamRequest::new(Live::Ws).open(&api);
    let mut pinged = 0;
    loop {
        match mute.ws().next_raw(LONG).expect("a frame") {
            tidings_tests::ws::Frame::Ping(_) => pinged += 1,
            tidings_tests::ws::Frame::Close(..) | tidings_tests::ws::Frame::End => break,
            _ => {}
        }
        // The other one keeps answering.
        let _ = alive.control("stream.heartbeat");
    }
    assert!(pinged > 0, "it was asked");
    let _ = api.post("/api/v1/events", &json!({ "type": "a.b", "data": 1 })).expect("answers").expect(201);
    assert_eq!(alive.event().0, 1);
}

#[test]
fn a_client_that_sends_nothing_at_all_is_closed_in_the_end() {
    let options = ServerOptions::new().set("limits.ping_interval", "off").set("limits.idle_timeout", "1s");
    let server = options.start();
    let api = server.tenant("acme");
    let mut idle = StreamRequest::new(Live::Ws).open(&api);
    let _ = idle.end(LONG);
}

#[test]
fn a_hundred_mixed_clients_are_served_together() {
    let server = ServerOptions::new().start();
    let api = server.tenant("acme");
    std::thread::scope(|scope| {
        let listeners: Vec<_> = (0..60)
            .map(|n| {
                let live = if n % 2 == 0 { Live::Ws } else { Live::Sse };
                let mut stream = StreamRequest::new(live).since(0).open(&api);
                scope.spawn(move || (0..400).map(|_| stream.event()).collect::<Vec<_>>())
            })
            .collect();
        for n in 0..40 {
            let api = &api;
            scope.spawn(move || {
                let mut session = api.session().expect("connects");
                for i in 0..10 {
                    let event = json!({ "type": "a.b", "data": { "client": n, "i": i } });
                    let _ = session.post("/api/v1/events", &event).expect("answers").expect(201);
                    let _ = session.get("/api/v1/events?since=0&limit=5").expect("answers").expect(200);
                }
            });
        }
        let got: Vec<_> = listeners.into_iter().map(|l| l.join().expect("a listener ends well")).collect();
        let log = tidings_tests::history::Log::read(&api, "acme", "");
        assert_eq!(log.events.len(), 400);
        for (n, events) in got.iter().enumerate() {
            log.assert_delivered(&format!("listener {n}"), events, |_| true);
        }
    });
}

/// At the limits that are shipped: each bites where the table says.
#[test]
fn an_address_has_ten_connections_and_twenty_at_once_and_the_proxied_client_counts() {
    let options =
        ServerOptions::new().set("limits.connections_per_ip", 10).set("limits.upgrades_per_ip", "10/s");
    let server = options.set("server.trusted_proxies", "127.0.0.0/8").start();
    let api = server.tenant("acme");
    let begin = |client: &str| {
        let mut wire = Wire::connect(server.addr, LONG).expect("connects");
        let request = format!(
            "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nX-Forwarded-For: 6.6.6.6, {client}\r\n\
             Authorization: Bearer {}\r\n\r\n",
            api.token.as_deref().expect("a token")
        );
        wire.write(request.as_bytes()).expect("sends");
        let head = wire.take_through(b"\r\n\r\n").expect("answers");
        (wire, String::from_utf8(head).expect("text"))
    };
    let mut open = Vec::new();
    for n in 0..12 {
        let (wire, head) = begin("192.0.2.1");
        if n < 10 {
            assert!(head.starts_with("HTTP/1.1 200"), "{n}: {head}");
            open.push(wire);
        } else {
            assert!(
                head.starts_with("HTTP/1.1 429") && head.contains("\r\nretry-after: 10\r\n"),
                "{n}: {head}"
            );
        }
    }
    let (other, head) = begin("192.0.2.2");
    assert!(head.starts_with("HTTP/1.1 200"), "another client of the same proxy: {head}");
    // A flood is refused before its credential is looked at.
    let count = |name, label| server.metric(name, label).unwrap_or_default() as u64;
    let looked_at = count("auth_results_total", "");
    let limited = (0..100).filter(|_| begin("192.0.2.1").1.starts_with("HTTP/1.1 429")).count();
    assert_eq!(limited, 100);
    assert_eq!(count("auth_results_total", ""), looked_at);
    let refused = |reason| count("sse_connections_rejected_total", reason);
    assert_eq!(refused("address_limit") + refused("rate_limit"), 102);
    drop((open, other));
    wait::until("the address to be free again", LONG, || {
        begin("192.0.2.1").1.starts_with("HTTP/1.1 200").then_some(())
    });
}
