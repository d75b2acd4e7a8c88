//! Hostile and broken WebSocket input: each gets its documented answer, and nothing else is disturbed.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::{
    Api, Message, Server, Stream, StreamRequest,
    stream::Live,
    wait::LONG,
    ws::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT, WsClient, header, masked},
};

/// A subscriber and a publisher who have nothing to do with what goes on.
struct Canary {
    api: Api,
    streams: [Stream; 2],
    sent: u64,
}

impl Canary {
    fn new(server: &Server) -> Self {
        let api = server.tenant("canary");
        let streams = [Live::Ws, Live::Sse].map(|live| StreamRequest::new(live).since(0).open(&api));
        Self { api, streams, sent: 0 }
    }

    /// An event goes through, on the connections that were there all the time.
    #[track_caller]
    fn sings(&mut self, after: &str) {
        self.sent += 1;
        let event = json!({ "type": "canary.sang", "data": after });
        let reply = self.api.post("/api/v1/events", &event).expect("answers");
        assert_eq!(reply.status, 201, "after {after}: {}", reply.text());
        for stream in &mut self.streams {
            assert_eq!(stream.event().0, self.sent, "after {after}");
        }
    }
}

/// An open stream past its first message.
fn open(api: &Api) -> WsClient {
    let mut ws = WsClient::connect(api, "/api/v1/ws", &[]).expect("answers").expect("upgrades");
    match ws.next(LONG).expect("a message") {
        Frame::Text(text) => assert!(text.contains("stream.open"), "{text}"),
        other => panic!("{other:?}"),
    }
    ws
}

/// Reads on until the server has closed: the messages of the rest, and the code.
fn rest(ws: &mut WsClient) -> (Vec<Value>, Option<u16>) {
    let mut messages = Vec::new();
    loop {
        match ws.next(LONG) {
            Ok(Frame::Text(text)) => messages.push(serde_json::from_str(&text).expect("JSON")),
            Ok(Frame::Close(code, _)) => return (messages, Some(code)),
            Ok(Frame::End) => return (messages, None),
            Ok(_) => {}
            Err(e) => panic!("not closed: {e}; {messages:?}"),
        }
    }
}

#[test]
fn broken_frames_close_with_their_code() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let mut canary = Canary::new(&server);
    let unmasked =
        |first: u8, payload: &[u8]| [header(first, payload.len() as u64, false), payload.to_vec()].concat();
    let text = |fin: u8, payload: &[u8]| masked(fin | TEXT, payload);
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("an unmasked frame", unmasked(0x80 | TEXT, b"{}"), 1002),
        ("RSV1", masked(0xC0 | TEXT, b"{}"), 1002),
        ("RSV2", masked(0xA0 | TEXT, b"{}"), 1002),
        ("RSV3", masked(0x90 | TEXT, b"{}"), 1002),
        ("a reserved data opcode", masked(0x83, b"{}"), 1002),
        ("a reserved control opcode", masked(0x8B, b"{}"), 1002),
        ("a continuation of nothing", masked(0x80 | CONTINUATION, b"{}"), 1002),
        ("a text within a fragmented text", [text(0, b"{"), text(0x80, b"}")].concat(), 1002),
        ("a fragmented ping", masked(PING, b"x"), 1002),
        ("a ping of 126 bytes", masked(0x80 | PING, &[b'x'; 126]), 1002),
        ("a close of one byte", masked(0x80 | CLOSE, b"x"), 1002),
        ("a close with the code 1005", masked(0x80 | CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("a close with the code 999", masked(0x80 | CLOSE, &999_u16.to_be_bytes()), 1002),
        ("a close whose reason is no text", masked(0x80 | CLOSE, &[0x03, 0xE8, 0xFF]), 1007),
        ("text that is not UTF-8", text(0x80, b"{\"op\":\"\xFF\"}"), 1007),
        ("a surrogate in UTF-8", text(0x80, b"\xED\xA0\x80"), 1007),
        ("bad UTF-8 over two fragments", [text(0, b"\xC3"), masked(0x80, b"\x28")].concat(), 1007),
        (
            "a frame whose header says 1 MiB + 1",
            [header(0x80 | TEXT, (1 << 20) + 1, true), vec![0; 4]].concat(),
            1009,
        ),
        (
            "a frame whose header says 2^63 - 1",
            [header(0x80 | TEXT, i64::MAX as u64, true), vec![0; 4]].concat(),
            1009,
        ),
    ];
    for (what, bytes, code) in cases {
        let mut ws = open(&api);
        ws.send_bytes(&bytes).expect("sends");
        let (_, got) = rest(&mut ws);
        assert_eq!(got, Some(code), "{what}");
        ws.wire().shut_write().expect("the client ends its side");
        assert!(ws.wire().ends(LONG), "{what}: the connection ends");
    }
    canary.sings("broken frames");
}

#[test]
fn fragments_beyond_the_limit_close_with_1009() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let mut canary = Canary::new(&server);
    let mut ws = open(&api);
    let part = vec![b' '; 64 << 10];
    let mut failed = ws.send_bytes(&masked(TEXT, &part)).is_err();
    for _ in 0..17 {
        failed |= ws.send_bytes(&masked(CONTINUATION, &part)).is_err();
    }
    let (_, code) = rest(&mut ws);
    assert!(code == Some(1009) || (failed && code.is_none()), "{code:?}");
    canary.sings("oversize fragments");
    // One byte at a time for ever: bounded by rate or by count, never by memory.
    let mut ws = open(&api);
    let _ = ws.send_bytes(&masked(TEXT, b" "));
    let flood = masked(CONTINUATION, b" ").repeat(10_000);
    while ws.send_bytes(&flood).is_ok() {}
    canary.sings("a flood of fragments");
}

#[test]
fn what_is_allowed_passes() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let mut ws = open(&api);
    ws.send(PING, b"hello").expect("sends");
    assert_eq!(ws.next(LONG).expect("a frame"), Frame::Pong(b"hello".to_vec()));
    ws.send(PONG, b"unasked").expect("sends");
    // A message in fragments, with a ping between them, a byte at a time on the wire.
    let message = br#"{"op":"ping"}"#;
    let bytes = [
        masked(TEXT, &message[..3]),
        masked(0x80 | PING, b"mid"),
        masked(0x80 | CONTINUATION, &message[3..]),
    ]
    .concat();
    for byte in bytes {
        ws.send_bytes(&[byte]).expect("sends");
    }
    assert_eq!(ws.next(LONG).expect("a frame"), Frame::Pong(b"mid".to_vec()));
    let Frame::Text(text) = ws.next(LONG).expect("a frame") else { panic!("no text") };
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["type"], "stream.pong");
    ws.send(CLOSE, &[&1000_u16.to_be_bytes()[..], b"bye"].concat()).expect("sends");
    assert_eq!(ws.close_code(LONG).expect("closes"), Some(1000));
    assert!(ws.wire().ends(LONG));
}

#[test]
fn messages_that_are_not_understood_get_an_error_and_at_last_1008() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let mut canary = Canary::new(&server);
    let deep = format!("{{\"op\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let texts = [
        "",
        "null",
        "[]",
        "{",
        "{}",
        "\u{1F4EF}",
        "{\"op\":1}",
        "{\"op\":\"dance\"}",
        "{\"op\":\"ping\",\"x\":1}",
        "{\"op\":\"filter\",\"colour\":\"red\"}",
        "{\"op\":\"filter\",\"types\":7}",
        "{\"op\":\"filter\",\"job_id\":\"42\"}",
        "{\"op\":\"auth\"}",
        "{\"op\":\"auth\",\"token\":\"nonsense\"}",
        "{\"op\":\"filter\",\"types\":\"\"}",
        "{\"op\":\"ping\"}{\"op\":\"ping\"}",
        &deep,
    ];
    for text in texts {
        let mut ws = open(&api);
        ws.send(TEXT, text.as_bytes()).expect("sends");
        expect_error(&mut ws, &text.chars().take(60).collect::<String>());
        // The stream goes on.
        ws.send_json(&json!({ "op": "ping" })).expect("sends");
        let Frame::Text(pong) = ws.next(LONG).expect("a frame") else { panic!("no text after {text}") };
        assert!(pong.contains("stream.pong"), "{pong}");
    }
    let mut ws = open(&api);
    ws.send(BINARY, b"\x00\x01").expect("sends");
    expect_error(&mut ws, "binary");
    let mut ws = open(&api);
    for _ in 0..10 {
        ws.send(TEXT, b"{\"op\":\"dance\"}").expect("sends");
    }
    let (messages, code) = rest(&mut ws);
    assert_eq!(code, Some(1008), "{messages:?}");
    assert!(messages.iter().filter(|m| m["type"] == "stream.error").count() >= 9, "{messages:?}");
    assert!(messages.iter().any(|m| m["type"] == "stream.closing" && m["code"] == 1008), "{messages:?}");
    canary.sings("nonsense");
}

#[track_caller]
fn expect_error(ws: &mut WsClient, what: &str) {
    let Frame::Text(text) = ws.next(LONG).expect("a frame") else { panic!("no answer to {what:?}") };
    let message: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(message["type"], "stream.error", "{what:?}: {message}");
    for field in ["type", "title", "status"] {
        assert!(!message["problem"][field].is_null(), "{what:?}: no {field} in {message}");
    }
}

#[test]
fn floods_are_told_and_then_closed() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let mut canary = Canary::new(&server);
    let mut ws = open(&api);
    let flood = masked(0x80 | TEXT, b"{\"op\":\"ping\"}").repeat(500);
    let _ = ws.send_bytes(&flood);
    let (messages, code) = rest(&mut ws);
    assert_eq!(code, Some(4429), "{:?}", messages.last());
    assert!(
        messages.iter().any(|m| m["type"] == "stream.error" && m["problem"]["status"] == 429),
        "told first"
    );
    canary.sings("a flood of messages");
    // Pings that nobody reads the answers to: the server's memory must not hold a pong for each.
    let mut ws = open(&api);
    let pings = masked(0x80 | PING, &[b'p'; 125]).repeat(1_000);
    for _ in 0..100 {
        if ws.send_bytes(&pings).is_err() {
            break;
        }
    }
    drop(ws);
    canary.sings("a flood of pings");
}

#[test]
fn a_filter_can_be_changed_in_band() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let mut stream = StreamRequest::new(Live::Ws).query("types=a.*").open(&api);
    let _ = stream.control("stream.open");
    let publish = |kind: &str| {
        let reply =
            api.post("/api/v1/events", &json!({ "type": kind, "data": 1 })).expect("answers").expect(201);
        reply.json()["seq"].as_u64().expect("a seq")
    };
    let (first, _, third) = (publish("a.made"), publish("b.made"), publish("a.made"));
    // With the third the stream has passed over the second.
    assert_eq!([stream.event().0, stream.event().0], [first, third]);
    stream.ws().send_json(&json!({ "op": "filter", "types": ["b.*"] })).expect("sends");
    let changed = stream.control("stream.filter");
    assert_eq!(changed["filter"]["types"], json!(["b.*"]), "{changed}");
    let (_, second) = (publish("a.made"), publish("b.made"));
    assert_eq!(stream.event().0, second);
    assert!(
        matches!(stream.next(Duration::from_millis(50)), Err(e) if e.kind() == std::io::ErrorKind::TimedOut)
    );
}

#[test]
fn upgrades_that_are_none_are_refused_before_101() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let ask = |query: &str, head: &str| {
        let head = format!("GET /api/v1/ws{query} HTTP/1.1\r\n{}{head}\r\n", api.headers());
        api.raw(head.as_bytes()).expect("answers")
    };
    for (what, head) in [
        ("no upgrade", String::new()),
        ("no key", upgrade.replace("Sec-WebSocket-Key", "X-Key")),
        ("a short key", upgrade.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=")),
        ("another protocol", upgrade.replace("websocket", "h2c")),
        ("no Connection", upgrade.replace("Connection: Upgrade", "Connection: keep-alive")),
    ] {
        let reply = ask("", &head);
        assert!(matches!(reply.status, 400 | 426), "{what}: {} {}", reply.status, reply.text());
        let _ = reply.expect_problem(reply.status);
    }
    let old = ask("", &upgrade.replace(": 13", ": 8"));
    assert!(matches!(old.status, 400 | 426), "{}", old.text());
    for query in [
        "?since=abc",
        "?since=-1",
        "?since=9223372036854775808",
        "?since=a:b:1",
        "?colour=red",
        "?job_id=42",
        "?types=",
        "?verbosity=loud",
        "?since=1&since=2",
    ] {
        let _ = ask(query, upgrade).expect_problem(400);
    }
    let reply = WsClient::connect(&api, "/api/v1/ws", &[("Sec-WebSocket-Protocol", "chat, tidings.v1")]);
    let head = reply.expect("answers").expect("upgrades").head;
    assert_eq!(head.header("sec-websocket-protocol"), Some("tidings.v1"));
    assert!(matches!(StreamRequest::new(Live::Ws).open(&api).next(LONG), Ok(Message::Control(_))));
}
