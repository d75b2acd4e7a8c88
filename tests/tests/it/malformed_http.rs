//! Hostile and broken HTTP input: each gets its documented problem, and nothing else is disturbed.

use serde_json::json;
use tidings_tests::{
    Api, Reply, Server, ServerOptions, StreamRequest,
    history::Log,
    stream::Live,
    wait::{self, LONG},
    wire::Wire,
};

fn send(api: &Api, path: &str, body: &[u8]) -> Reply {
    let mut session = api.session().expect("connects");
    session.send("POST", path, &[("Content-Type", "application/json")], Some(body)).expect("answers")
}

/// What is one of these statuses and a whole problem.
#[track_caller]
fn expect(reply: &Reply, statuses: &[u16], what: &str) {
    assert!(statuses.contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
    let _ = reply.expect_problem(reply.status);
}

#[test]
fn bodies_that_do_not_read_get_a_precise_problem() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let mut canary = StreamRequest::new(Live::Ws).since(0).open(&api);
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let long = "x".repeat(300);
    let jobs: Vec<(String, &[u16])> = vec![
        (String::new(), &[400]),
        ("{".into(), &[400]),
        ("{\"type\":\"a\"}garbage".into(), &[400]),
        ("{'type':'a'}".into(), &[400]),
        ("\u{0}".into(), &[400]),
        ("NaN".into(), &[400]),
        (deep(100_000), &[400, 422]),
        (format!("{{\"type\":\"a\",\"payload\":{}}}", deep(10_000)), &[400, 422]),
        ("1".into(), &[400, 422]),
        ("{}".into(), &[422]),
        ("{\"type\":1}".into(), &[422]),
        ("{\"type\":\"A B\"}".into(), &[422]),
        ("{\"type\":\"a\",\"colour\":\"red\"}".into(), &[422]),
        ("{\"type\":\"a\",\"type\":\"b\"}".into(), &[400, 422]),
        ("{\"type\":\"a\",\"priority\":1e999}".into(), &[400, 422]),
        ("{\"type\":\"a\",\"priority\":99999999999999999999999}".into(), &[422]),
        ("{\"type\":\"a\",\"priority\":1.5}".into(), &[422]),
        ("{\"type\":\"a\",\"priority\":1001}".into(), &[422]),
        ("{\"type\":\"a\",\"max_attempts\":0}".into(), &[422]),
        ("{\"type\":\"a\",\"max_attempts\":-1}".into(), &[422]),
        ("{\"type\":\"a\",\"run_at\":\"tomorrow\"}".into(), &[422]),
        ("{\"type\":\"a\",\"backoff\":{\"base\":\"1s\",\"max\":\"1ms\"}}".into(), &[422]),
        (format!("{{\"type\":\"a\",\"subject\":\"{long}\"}}"), &[422]),
        ("{\"type\":\"a\",\"owner\":\"a,b\"}".into(), &[422]),
        ("{\"type\":\"a\",\"unique_key\":\"\\u0000\"}".into(), &[422]),
        ("[{\"type\":\"a\"},{\"type\":1}]".into(), &[422]),
    ];
    for (body, statuses) in jobs {
        let what: String = body.chars().take(80).collect();
        expect(&send(&api, "/api/v1/jobs", body.as_bytes()), statuses, &what);
    }
    for (body, statuses) in [
        ("{\"type\":\"job.done\",\"data\":1}", [422]),
        ("{\"type\":\"stream.open\",\"data\":1}", [422]),
        ("{\"type\":\"..\",\"data\":1}", [422]),
        ("{\"type\":\"a.b\",\"data\":1,\"seq\":7}", [422]),
        ("{\"type\":\"a.b\",\"data\":01}", [400]),
        ("{\"type\":\"a.b\",\"data\":\"\\ud800\"}", [422]),
    ] {
        let reply = send(&api, "/api/v1/events", body.as_bytes());
        expect(&reply, if reply.status == 400 { &[400] } else { &statuses }, body);
    }
    expect(&send(&api, "/api/v1/jobs", b"{\"type\":\"\xFF\"}"), &[400, 422], "no UTF-8");
    for body in [
        "{\"types\":[\"a\"]}",
        "{\"worker\":\"w\",\"types\":[]}",
        "{\"worker\":\"w\",\"types\":[\"a\"],\"max\":0}",
        "{\"worker\":\"w\",\"types\":[\"a\"],\"max\":101}",
        "{\"worker\":\"w\",\"types\":[\"a\"],\"wait_s\":-1}",
    ] {
        expect(&send(&api, "/api/v1/leases", body.as_bytes()), &[422], body);
    }
    // The very path of what is wrong, for a person to act on.
    let problem = send(&api, "/api/v1/jobs", b"[{\"type\":\"a\"},{\"type\":\"a\",\"priority\":\"high\"}]")
        .expect_problem(422);
    assert!(
        problem.to_string().contains("[1].priority") || problem.to_string().contains("1.priority"),
        "{problem}"
    );
    // Nothing of it was stored, and the canary hears the first event that is.
    let _ = api
        .post("/api/v1/events", &json!({ "type": "canary.sang", "data": 1 }))
        .expect("answers")
        .expect(201);
    assert_eq!(canary.event().0, 1);
}

#[test]
fn sizes_types_methods_and_routes_have_their_problems() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let big = json!({ "type": "a.b", "data": "x".repeat(70 << 10) });
    let _ = api.post("/api/v1/events", &big).expect("answers").expect_problem(413);
    let many: Vec<_> = (0..1_001).map(|_| json!({ "type": "a.b", "data": 1 })).collect();
    let _ = api.post("/api/v1/events", &many).expect("answers").expect_problem(413);
    let huge = vec![b' '; (1 << 20) + 1];
    let _ = send(&api, "/api/v1/events", &huge).expect_problem(413);
    // A length that is only claimed is refused without waiting for the bytes.
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n",
        api.headers()
    );
    let _ = api.raw(head.as_bytes()).expect("answers").expect_problem(413);
    let mut session = api.session().expect("connects");
    let reply = session
        .send("POST", "/api/v1/events", &[("Content-Type", "text/plain")], Some(b"{}"))
        .expect("answers");
    let _ = reply.expect_problem(415);
    let _ = api.get("/api/v1/nothing").expect("answers").expect_problem(404);
    let reply = session.send("PUT", "/api/v1/jobs", &[], None).expect("answers");
    let _ = reply.expect_problem(405);
    assert!(reply.header("allow").is_some_and(|a| a.contains("POST")), "{:?}", reply.headers);
    let reply = session.send("GET", "/api/v1/events", &[("Accept", "image/png")], None).expect("answers");
    let _ = reply.expect_problem(406);
    let bad_key = "k".repeat(256);
    for key in ["", "a b", &bad_key] {
        let event = json!({ "type": "a.b", "data": 1 });
        let reply =
            session.post_with("/api/v1/events", &[("Idempotency-Key", key)], &event).expect("answers");
        let _ = reply.expect_problem(400);
    }
    let event = |n: u32| json!({ "type": "a.b", "data": n });
    let first = session
        .post_with("/api/v1/events", &[("Idempotency-Key", "k")], &event(1))
        .expect("answers")
        .expect(201);
    let again = session
        .post_with("/api/v1/events", &[("Idempotency-Key", "k")], &event(1))
        .expect("answers")
        .expect(201);
    assert_eq!(first.json(), again.json());
    let other = session.post_with("/api/v1/events", &[("Idempotency-Key", "k")], &event(2)).expect("answers");
    let _ = other.expect_problem(422);
    assert_eq!(Log::read(&api, "acme", "").events.len(), 1);
}

#[test]
fn bad_parameters_and_cursors_have_their_problems() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let _ = api.post("/api/v1/events", &json!({ "type": "a.b", "data": 1 })).expect("answers").expect(201);
    for query in [
        "since=abc",
        "since=-1",
        "since=+1",
        "since=9223372036854775808",
        "since=9007199254740992",
        "since=:1",
        "since=A:1",
        "since=",
        "limit=0",
        "limit=1001",
        "limit=ten",
        "wait=-1",
        "wait=61",
        "colour=red",
        "job_id=42",
        "types=",
        "types=a*b",
        "verbosity=loud",
        "since=1&since=2",
        "owner=%00",
    ] {
        let reply = api.get(&format!("/api/v1/events?{}", query.replace(' ', "%20"))).expect("answers");
        expect(&reply, &[400], query);
    }
    let too_many = vec!["a.b"; 101].join(",");
    expect(&api.get(&format!("/api/v1/events?types={too_many}")).expect("answers"), &[400], "101 values");
    // Cursors that read but have no place here: 410 with the reason on replay, a reset on streams.
    let epoch = Log::read(&api, "acme", "").epoch;
    for (cursor, reason) in
        [(format!("{epoch}:2"), "ahead"), ("9000".into(), "ahead"), ("zzzzzzzz:1".into(), "epoch")]
    {
        let problem =
            api.get(&format!("/api/v1/events?since={cursor}")).expect("answers").expect_problem(410);
        assert_eq!((&problem["reason"], &problem["oldest"]), (&json!(reason), &json!(1)), "{problem}");
        for live in [Live::Ws, Live::Sse] {
            let mut stream = StreamRequest::new(live).since(&cursor).open(&api);
            let reset = stream.control("stream.reset");
            assert_eq!((&reset["reason"], &reset["epoch"]), (&json!(reason), &json!(epoch)), "{reset}");
            assert_eq!(stream.event().0, 1, "it goes on from the oldest");
        }
    }
    for id in ["abc", "-1", "9223372036854775808"] {
        let refused = StreamRequest::new(Live::Sse).since(id).try_open(&api).expect("answers");
        let _ = refused.expect_err("no silent empty stream").expect_problem(400);
    }
}

#[test]
fn an_expired_cursor_is_told_so() {
    let server = ServerOptions::new().set("retention.events_per_tenant", 10).start();
    let api = server.tenant("acme");
    let batch: Vec<_> = (0..100).map(|n| json!({ "type": "a.b", "data": n })).collect();
    let _ = api.post("/api/v1/events", &batch).expect("answers").expect(201);
    let problem = wait::until("retention to pass", LONG * 3, || {
        let reply = api.get("/api/v1/events?since=1").expect("answers");
        (reply.status != 200).then(|| reply.expect_problem(410))
    });
    assert_eq!((&problem["reason"], &problem["oldest"]), (&json!("expired"), &json!(91)), "{problem}");
    for live in [Live::Ws, Live::Sse] {
        let mut stream = StreamRequest::new(live).since(1).open(&api);
        assert_eq!(stream.control("stream.reset")["reason"], "expired");
        assert_eq!(stream.event().0, 91);
        assert_eq!(StreamRequest::new(live).since(0).open(&api).event().0, 91, "0 is from the oldest kept");
        assert_eq!(StreamRequest::new(live).since(90).open(&api).event().0, 91, "just not expired");
    }
}

#[test]
fn payloads_inject_no_field_into_an_event_stream() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let nasty = "a\nid: 999\r\rdata: forged\u{2028}\u{0}\n\nevent: forged\n\n";
    let event = json!({ "type": "a.b", "data": { nasty: nasty }, "subject": "id: 7" });
    let _ = api.post("/api/v1/events", &event).expect("answers").expect(201);
    let raw = b"{\r\n\"type\" :\t\"a.b\",\n\n\"data\":\r[1,\r\n\n2 ]}";
    let _ = send(&api, "/api/v1/events", raw).expect(201);
    let log = Log::read(&api, "acme", "");
    for live in [Live::Ws, Live::Sse] {
        let mut stream = StreamRequest::new(live).since(0).open(&api);
        log.assert_delivered("nasty", &[stream.event(), stream.event()], |_| true);
    }
    let data = log.reads().next().expect("an event").value["data"].clone();
    assert_eq!(data[nasty], nasty);
}

#[test]
fn shapes_that_smuggle_requests_are_refused_and_the_connection_closed() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let auth = api.headers();
    let event = r#"{"type":"a.b","data":1}"#;
    let n = event.len();
    let post = |framing: &str, body: &str| {
        format!("POST /api/v1/events HTTP/1.1\r\n{auth}Content-Type: application/json\r\n{framing}\r\n{body}")
    };
    let inner = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let shapes = [
        ("two lengths", post(&format!("Content-Length: {n}\r\nContent-Length: {}\r\n", n + 5), event)),
        ("two lengths in one", post(&format!("Content-Length: {n}, {}\r\n", n + 5), event)),
        ("a signed length", post(&format!("Content-Length: +{n}\r\n"), event)),
        ("a negative length", post("Content-Length: -1\r\n", event)),
        (
            "a length and chunks",
            post(
                &format!("Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n"),
                &format!("0\r\n\r\n{inner}"),
            ),
        ),
        ("chunks not last", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")),
        ("an unknown coding", post("Transfer-Encoding: xchunked\r\n", event)),
        ("a folded header", post(&format!("X-Fold: a\r\n b\r\nContent-Length: {n}\r\n"), event)),
        ("a space before the colon", post(&format!("Content-Length : {n}\r\n"), event)),
        ("a bad chunk size", post("Transfer-Encoding: chunked\r\n", "zz\r\n")),
        ("a bare CR in a header", post(&format!("X-A: a\rb\r\nContent-Length: {n}\r\n"), event)),
        ("a NUL in a header", post(&format!("X-A: a\0b\r\nContent-Length: {n}\r\n"), event)),
        ("no request at all", "\u{16}\u{3}\u{1}\u{2}\r\n\r\n".to_owned()),
    ];
    for (what, request) in shapes {
        let mut wire = Wire::connect(server.addr, LONG).expect("connects");
        wire.write(request.as_bytes()).expect("sends");
        let answer = String::from_utf8_lossy(&wire.take_to_end().unwrap_or_default()).into_owned();
        let statuses: Vec<_> = answer.lines().filter_map(|l| l.strip_prefix("HTTP/1.1 ")).collect();
        assert!(
            statuses.is_empty()
                || (statuses.len() == 1 && matches!(&statuses[0][..3], "400" | "408" | "413" | "501")),
            "{what}: {statuses:?}"
        );
    }
    // Bare line feeds: refused, or read as ends of lines with one answer; never two.
    let request = post(&format!("Content-Length: {n}\r\n"), event).replace("\r\n", "\n");
    let mut wire = Wire::connect(server.addr, LONG).expect("connects");
    wire.write(request.as_bytes()).expect("sends");
    wire.shut_write().expect("half-closes");
    let answer = String::from_utf8_lossy(&wire.take_to_end().unwrap_or_default()).into_owned();
    assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{answer}");
    assert!(Log::read(&api, "acme", "").events.len() <= 1, "nothing was smuggled in");
    let _ = api.post("/api/v1/events", &json!({ "type": "a.b", "data": 1 })).expect("answers").expect(201);
}
