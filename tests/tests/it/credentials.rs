//! No request without a credential, no connection that outlives its credential, no secret in a log.

use std::{fs, os::unix::fs::MetadataExt as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tidings_tests::{
    Api, Message, Reply, Server, ServerOptions, Stream, StreamRequest,
    sse::SseClient,
    stream::Live,
    wait::LONG,
    ws::{WsClient, masked},
};

/// How soon a revocation reaches live connections.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

fn publish(api: &Api) -> u64 {
    let reply =
        api.post("/api/v1/events", &json!({ "type": "a.b", "data": 1 })).expect("answers").expect(201);
    reply.json()["seq"].as_u64().expect("a seq")
}

#[test]
fn no_request_passes_without_a_credential() {
    let server = Server::plain();
    let _ = server.tenant("acme");
    let nobody = server.anonymous();
    for path in ["/health", "/health/live", "/health/ready"] {
        let _ = nobody.get(path).expect("answers").expect(200);
    }
    let openapi = nobody.get("/api/v1/openapi.json").expect("answers").expect(200).json();
    assert!(openapi["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")), "{}", openapi["openapi"]);
    let id = "019ab0c4-0000-7000-8000-000000000000";
    let mut asked = 0;
    for (path, item) in openapi["paths"].as_object().expect("paths") {
        if path.starts_with("/health") || path.ends_with("openapi.json") {
            continue;
        }
        let path =
            path.split('/').map(|p| if p.starts_with('{') { id } else { p }).collect::<Vec<_>>().join("/");
        for method in item
            .as_object()
            .expect("operations")
            .keys()
            .filter(|m| ["get", "post", "delete", "put", "patch"].contains(&m.as_str()))
        {
            let method = method.to_ascii_uppercase();
            let body = (method != "GET").then_some(&b"{}"[..]);
            let mut bodies = Vec::new();
            for token in [None, Some("nonsense"), Some(""), Some("a.b.c"), Some("tdk_0_0")] {
                let api = Api { token: token.map(str::to_owned), ..nobody.clone() };
                let mut session = api.session().expect("connects");
                let reply = session
                    .send(&method, &path, &[("Content-Type", "application/json")], body)
                    .expect("answers");
                let _ = reply.expect_problem(401);
                let challenge = reply.header("www-authenticate").unwrap_or_default();
                assert!(challenge.starts_with("Bearer"), "{method} {path}: {challenge:?}");
                bodies.push(without_request_id(&reply));
                asked += 1;
            }
            bodies[1..]
                .iter()
                .for_each(|b| assert_eq!(*b, bodies[1], "one body for every cause: {method} {path}"));
        }
    }
    assert!(asked > 60, "{asked} requests are not the whole API");
    for live in [Live::Ws, Live::Sse] {
        let refused = StreamRequest::new(live).since(0).try_open(&nobody).expect("answers");
        let _ = refused.expect_err("refused").expect_problem(401);
    }
    // A token in the query is no credential but for tickets.
    let token = server.token("acme", "ana", "events:read", "1h");
    for query in [format!("?token={token}"), format!("?access_token={token}"), format!("?ticket={token}")] {
        let reply = WsClient::connect(&nobody, &format!("/api/v1/ws{query}"), &[]).expect("answers");
        assert!(matches!(reply.err().map(|r| r.status), Some(400 | 401)), "{query}");
    }
}

fn without_request_id(reply: &Reply) -> Value {
    let mut body = reply.json();
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|name, _| name != "request_id" && name != "instance");
    }
    body
}

#[test]
fn the_first_start_makes_keys_that_only_the_owner_can_read() {
    let mut server = Server::plain();
    let data = server.data();
    let mode = |path: &std::path::Path| fs::metadata(path).expect("exists").mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    let files: Vec<_> = fs::read_dir(&data)
        .expect("reads")
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_file() && !p.ends_with("server.json"))
        .collect();
    for file in &files {
        assert_eq!(mode(file) & 0o077, 0, "{}: {:o}", file.display(), mode(file));
    }
    assert!(files.len() >= 3, "{files:?}");
    let admin = server.admin_key();
    let _ = server.admin().get("/api/v1/tenants").expect("answers").expect(200);
    server.stop();
    server.resume();
    assert_eq!(server.admin_key(), admin, "made once");
}

#[test]
fn a_connection_ends_with_its_credential() {
    let server = Server::plain();
    let backend = server.tenant("acme");
    let brief = server.anonymous().with_token(server.token("acme", "ana", "events:read", "3s"));
    let mut streams = [Live::Ws, Live::Sse].map(|live| StreamRequest::new(live).open(&brief));
    publish(&backend);
    for stream in &mut streams {
        assert_eq!(stream.event().0, 1, "it works until then");
    }
    let [ws, sse] = &mut streams;
    expect_closing(ws, LONG, Some(4401));
    expect_closing(sse, LONG, None);
    let _ = brief.get("/api/v1/events").expect("answers").expect_problem(401);
}

#[track_caller]
fn expect_closing(stream: &mut Stream, within: Duration, close: Option<u16>) {
    let (controls, code) = stream.end(within);
    assert_eq!(code, close, "{controls:?}");
    assert!(controls.iter().any(|c| c["type"] == "stream.closing" && c["code"] == 4401), "{controls:?}");
}

#[test]
fn a_refresh_in_band_keeps_the_connection_and_another_user_ends_it() {
    let server = Server::plain();
    let backend = server.tenant("acme");
    let token = |user: &str, ttl: &str| server.token("acme", user, "events:read", ttl);
    let brief = server.anonymous().with_token(token("ana", "3s"));
    let mut stream = StreamRequest::new(Live::Ws).open(&brief);
    let _ = stream.control("stream.open");
    stream.ws().send_json(&json!({ "op": "auth", "token": token("ana", "1h") })).expect("sends");
    let renewed = stream.control("stream.auth");
    assert!(renewed["expires_at"].is_string(), "{renewed}");
    // Past the first token's end: shown by the token itself, not by a clock of ours.
    tidings_tests::wait::until_true("the first token to expire", LONG, || {
        brief.get("/api/v1/events").expect("answers").status == 401
    });
    let seq = publish(&backend);
    assert_eq!(stream.event().0, seq, "it lives on");
    stream.ws().send_json(&json!({ "op": "auth", "token": "nonsense" })).expect("sends");
    assert_eq!(stream.control("stream.error")["problem"]["status"], 401);
    let seq = publish(&backend);
    assert_eq!(stream.event().0, seq, "a bad token costs nothing");
    stream.ws().send_json(&json!({ "op": "auth", "token": token("ben", "1h") })).expect("sends");
    let (_, code) = stream.end(LONG);
    assert_eq!(code, Some(4403));
}

#[test]
fn a_revoked_key_ends_its_live_connections_and_requests() {
    let server = Server::plain();
    let backend = server.tenant("acme");
    let made = json!({ "name": "reader", "scopes": ["events:read"] });
    let made = backend.post("/api/v1/keys", &made).expect("answers").expect(201).json();
    let (id, text) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    assert!(text.starts_with("tdk_"));
    let shown = backend.get(&format!("/api/v1/keys/{id}")).expect("answers").expect(200).text();
    assert!(!shown.contains(text) && !shown.contains(&text[37..]), "shown once");
    let reader = server.anonymous().with_token(text);
    let mut streams = [Live::Ws, Live::Sse].map(|live| StreamRequest::new(live).open(&reader));
    let ticket = reader.post("/api/v1/tickets", &json!({})).expect("answers").json()["ticket"]
        .as_str()
        .expect("a ticket")
        .to_owned();
    let by_ticket = WsClient::connect(&server.anonymous(), &format!("/api/v1/ws?ticket={ticket}"), &[]);
    let mut by_ticket = by_ticket.expect("answers").expect("upgrades");
    for stream in &mut streams {
        let _ = stream.control("stream.open");
    }
    assert!(backend.delete(&format!("/api/v1/keys/{id}")).expect("answers").status < 300);
    let [ws, sse] = &mut streams;
    expect_closing(ws, REVOKED_WITHIN, Some(4401));
    expect_closing(sse, REVOKED_WITHIN, None);
    assert_eq!(
        by_ticket.close_code(REVOKED_WITHIN).expect("closes"),
        Some(4401),
        "what it minted ends with it"
    );
    let _ = reader.get("/api/v1/events").expect("answers").expect_problem(401);
}

#[test]
fn a_suspended_and_a_deleted_tenant_lose_their_connections() {
    let server = Server::plain();
    for act in ["suspend", "delete"] {
        let tenant = format!("acme-{act}");
        let api = server.tenant(&tenant);
        publish(&api);
        let mut streams = [Live::Ws, Live::Sse].map(|live| StreamRequest::new(live).since(0).open(&api));
        for stream in &mut streams {
            assert_eq!(stream.event().0, 1);
        }
        let path = format!("/api/v1/tenants/{tenant}");
        let reply = match act {
            "suspend" => server.admin().post(&format!("{path}/suspend"), &json!({})),
            _ => server.admin().delete(&path),
        };
        assert!(reply.expect("answers").status < 300);
        for stream in &mut streams {
            let _ = stream.end(REVOKED_WITHIN);
        }
        let reply = api.get("/api/v1/events?since=0").expect("answers");
        match act {
            "suspend" => drop(reply.expect_problem(403)),
            // As a tenant that never was; made again it starts anew.
            _ => assert_eq!(reply.expect(200).json()["events"], json!([])),
        }
    }
}

#[test]
fn a_ticket_serves_once_and_where_it_was_bound_to() {
    let server = Server::plain();
    let backend = server.tenant("acme");
    let nobody = server.anonymous();
    let mint = |body: Value| {
        let reply = backend.post("/api/v1/tickets", &body).expect("answers");
        assert!(matches!(reply.status, 200 | 201), "{} {}", reply.status, reply.text());
        assert!(reply.json()["expires_at"].is_string());
        reply.json()["ticket"].as_str().expect("a ticket").to_owned()
    };
    let open = |ticket: &str, headers: &[(&str, &str)]| {
        WsClient::connect(&nobody, &format!("/api/v1/ws?ticket={ticket}"), headers).expect("answers")
    };
    let once = mint(json!({}));
    assert!(once.starts_with("tdt_"));
    assert!(open(&once, &[]).is_ok());
    let _ = open(&once, &[]).expect_err("used").expect_problem(401);
    let bound = mint(json!({ "origin": "https://good.example" }));
    for origin in ["https://good.example.evil", "https://evil.good.example", "http://good.example", "null"] {
        let refused = open(&bound, &[("Origin", origin)]).expect_err(origin);
        assert!(matches!(refused.status, 401 | 403), "{origin}: {}", refused.status);
    }
    assert!(open(&bound, &[]).is_err(), "without an origin");
    assert!(open(&bound, &[("Origin", "https://good.example")]).is_ok(), "refusals did not use it up");
    let mut forged = mint(json!({}));
    let last = forged.pop().expect("a letter");
    forged.push(if last == 'A' { 'B' } else { 'A' });
    let _ = open(&forged[..forged.len() - 4], &[]).expect_err("cut").expect_problem(401);
    // A ticket is narrower than its maker where it says so, and never wider.
    let ana = server.user("acme", "ana", "jobs:read:own events:read");
    let narrow =
        ana.post("/api/v1/tickets", &json!({ "scopes": ["jobs:read:own"] })).expect("answers").json();
    let mut own = open(narrow["ticket"].as_str().expect("a ticket"), &[]).expect("upgrades");
    let _ = own.next(LONG).expect("stream.open");
    for wider in
        [json!({ "scopes": ["jobs:read:all"] }), json!({ "user": "ben" }), json!({ "tenant": "other" })]
    {
        let _ = ana.post("/api/v1/tickets", &wider).expect("answers").expect_problem(403);
    }
    let _ = nobody.with_token(mint(json!({}))).get("/api/v1/events").expect("answers").expect_problem(401);
}

#[test]
fn a_token_in_the_subprotocol_is_taken_and_never_echoed() {
    let server = Server::plain();
    let backend = server.tenant("acme");
    let token = server.token("acme", "ana", "events:read", "1h");
    let offer = format!("tidings.bearer.{}, tidings.v1", URL_SAFE_NO_PAD.encode(&token));
    let ws =
        WsClient::connect(&server.anonymous(), "/api/v1/ws?since=0", &[("Sec-WebSocket-Protocol", &offer)]);
    let mut ws = ws.expect("answers").expect("upgrades");
    assert_eq!(ws.head.header("sec-websocket-protocol"), Some("tidings.v1"));
    assert!(!format!("{:?}", ws.head).contains("bearer"));
    publish(&backend);
    let _ = (ws.next(LONG).expect("stream.open"), ws.next(LONG).expect("the event"));
    let only = format!("tidings.bearer.{}", URL_SAFE_NO_PAD.encode(&token));
    let ws = WsClient::connect(&server.anonymous(), "/api/v1/ws", &[("Sec-WebSocket-Protocol", &only)]);
    assert!(ws.expect("answers").is_ok_and(|ws| ws.head.header("sec-websocket-protocol").is_none()));
}

#[test]
fn scopes_are_asked_before_anything_is_looked_up() {
    let server = Server::plain();
    let _ = server.tenant("acme");
    let id = "019ab0c4-0000-7000-8000-000000000000";
    let reader = server.user("acme", "ana", "events:read");
    let _ = reader
        .post("/api/v1/events", &json!({ "type": "a.b", "data": 1 }))
        .expect("answers")
        .expect_problem(403);
    let _ = reader.get(&format!("/api/v1/jobs/{id}")).expect("answers").expect_problem(403);
    let _ =
        reader.post(&format!("/api/v1/jobs/{id}/cancel"), &json!({})).expect("answers").expect_problem(403);
    let _ = reader
        .post("/api/v1/leases", &json!({ "worker": "w", "types": ["a"] }))
        .expect("answers")
        .expect_problem(403);
    let _ = reader.get("/api/v1/keys").expect("answers").expect_problem(403);
    let _ = reader.get("/api/v1/events?verbosity=detail").expect("answers").expect_problem(403);
    let detailed = server.user("acme", "ana", "events:read events:detail");
    let _ = detailed.get("/api/v1/events?verbosity=detail").expect("answers").expect(200);
    let _ = detailed.get("/api/v1/events?verbosity=debug").expect("answers").expect_problem(403);
    let blind = server.user("acme", "ana", "events:publish");
    for live in [Live::Ws, Live::Sse] {
        let refused = StreamRequest::new(live).try_open(&blind).expect("answers");
        let _ = refused.expect_err("no scope to read").expect_problem(403);
    }
    let _ = server.admin().get("/api/v1/events").expect("answers").expect_problem(400);
}

#[test]
fn no_secret_reaches_a_log() {
    let server = ServerOptions::new().set("log.filter", "trace").start();
    let backend = server.tenant("acme");
    let nobody = server.anonymous();
    let token = server.token("acme", "ana", "events:read jobs:read:all", "1h");
    let made = backend
        .post("/api/v1/keys", &json!({ "name": "k", "scopes": ["events:read"] }))
        .expect("answers")
        .json();
    let key = made["key"].as_str().expect("a key").to_owned();
    let ticket = backend.post("/api/v1/tickets", &json!({})).expect("answers").json();
    let ticket = ticket["ticket"].as_str().expect("a ticket").to_owned();
    let mut secrets = vec![
        server.admin_key(),
        backend.token.clone().expect("a token"),
        token.clone(),
        key.clone(),
        ticket.clone(),
    ];
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    secrets.push(forged.clone());
    let _ = nobody.with_token(&key).get("/api/v1/events").expect("answers").expect(200);
    let _ = nobody.with_token(&forged).get("/api/v1/events").expect("answers").expect(401);
    let _ = nobody.with_token(format!("{key}x")).get("/api/v1/events").expect("answers").expect(401);
    for _ in 0..2 {
        let _ = WsClient::connect(&nobody, &format!("/api/v1/ws?ticket={ticket}"), &[]).expect("answers");
    }
    let offer = format!("tidings.bearer.{}, tidings.v1", URL_SAFE_NO_PAD.encode(&token));
    secrets.push(URL_SAFE_NO_PAD.encode(&token));
    let ws = WsClient::connect(&nobody, "/api/v1/ws", &[("Sec-WebSocket-Protocol", &offer)]);
    let mut ws = ws.expect("answers").expect("upgrades");
    ws.send_json(&json!({ "op": "auth", "token": &forged })).expect("sends");
    let _ = (ws.next(LONG), ws.next(LONG));
    let _ = SseClient::connect(&nobody, &format!("/api/v1/events?ticket={ticket}"), &[]).expect("answers");
    let job = json!({ "type": "a", "payload": { "password": "hunter2-in-a-payload" } });
    let _ = backend.post("/api/v1/jobs", &job).expect("answers").expect(201);
    secrets.push("hunter2-in-a-payload".into());
    ws.send_bytes(&masked(0xF0, b"")).expect("sends");
    drop(ws);
    let log = tidings_tests::wait::until("the log to tell of a broken frame", LONG, || {
        let log = server.log();
        log.contains("closing").then_some(log)
    });
    for secret in &secrets {
        // The parts that a token is made of, too.
        for part in secret.split(['.', '_']).filter(|p| p.len() >= 20).chain([secret.as_str()]) {
            let shown = part.len() == 32 && part.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(shown || !log.contains(part), "{part} is in the log");
        }
    }
}

#[test]
fn planted_secrets_of_failing_jobs_reach_no_transport() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let reader = server.user("acme", "eve", "jobs:read:all events:read");
    let planted = [
        "SELECT * FROM users WHERE token='s3cr3t-t0ken'",
        "/etc/tidings/secret.toml",
        "10.20.30.40:5432",
        "ana@example.com",
        "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "password=hunter2",
        "C:\\Users\\ana\\key.pem",
        "https://user:pw@internal.example/x",
        "AKIAIOSFODNN7EXAMPLE0000",
    ];
    for (n, secret) in planted.iter().enumerate() {
        let job = json!({ "type": "fails", "payload": { "n": n }, "max_attempts": 1 });
        let _ = api.post("/api/v1/jobs", &job).expect("answers").expect(201);
        let lease = json!({ "worker": "w", "types": ["fails"], "max": 1, "wait_s": 5 });
        let leases = api.post("/api/v1/leases", &lease).expect("answers").expect(200).json();
        let path = format!("/api/v1/leases/{}", leases["leases"][0]["lease"].as_str().expect("a lease"));
        let progress = json!({ "percent": 1, "message": secret });
        let _ = api.post(&format!("{path}/progress"), &progress).expect("answers");
        let error = format!("cannot go on: {secret}");
        let _ = api
            .post(&format!("{path}/fail"), &json!({ "error": error, "category": "internal" }))
            .expect("answers")
            .expect(200);
    }
    let mut seen = reader.get("/api/v1/events?since=0").expect("answers").expect(200).text();
    seen += &reader.get("/api/v1/jobs").expect("answers").expect(200).text();
    let head =
        reader.get("/api/v1/events?since=0").expect("answers").json()["head"].as_u64().expect("a head");
    for live in [Live::Ws, Live::Sse] {
        let mut stream = StreamRequest::new(live).since(0).open(&reader);
        loop {
            if let Message::Event { seq, raw } = stream.next(LONG).expect("a message") {
                seen += &raw;
                if seq == head {
                    break;
                }
            }
        }
    }
    assert!(seen.contains("job.failed"));
    for secret in [
        "s3cr3t",
        "SELECT",
        "/etc/tidings",
        "10.20.30.40",
        "ana@",
        "eyJhbGci",
        "hunter2",
        "key.pem",
        "internal.example",
        "AKIAIOSF",
    ] {
        assert!(!seen.contains(secret), "{secret} got out");
    }
    let raw = api.get("/api/v1/jobs?type=fails").expect("answers").expect(200).text();
    assert!(raw.contains("s3cr3t"), "the raw text stays with the job for holders of events:detail");
}
