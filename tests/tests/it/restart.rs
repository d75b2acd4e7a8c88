//! An orderly stop, and what clients find after it.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tidings_tests::{
    Api, Message, Server, ServerOptions, StreamRequest,
    history::Log,
    server::copy_folder,
    stream::Live,
    wait::{self, LONG},
    wire::Wire,
};

fn publish(api: &Api, count: usize) -> u64 {
    let batch: Vec<_> = (0..count).map(|n| json!({ "type": "a.b", "data": n })).collect();
    let reply = api.post("/api/v1/events", &batch).expect("answers").expect(201).json();
    reply["events"].as_array().and_then(|e| e.last()).and_then(|e| e["seq"].as_u64()).expect("a seq")
}

#[test]
fn sigterm_tells_every_live_connection_and_exits_well() {
    let mut server = ServerOptions::new().set("drain.timeout", "3s").start();
    let api = server.tenant("acme");
    let mut streams: Vec<_> = (0..30)
        .map(|n| StreamRequest::new(if n % 3 == 0 { Live::Sse } else { Live::Ws }).since(0).open(&api))
        .collect();
    let last = publish(&api, 50);
    server.terminate();
    let mut hints = Vec::new();
    for (n, stream) in streams.iter_mut().enumerate() {
        let mut seen = 0;
        let closing = loop {
            match stream.next(LONG).expect("a message") {
                Message::Event { seq, .. } => seen = seq,
                Message::Control(value) if value["type"] == "stream.closing" => break value,
                Message::Control(_) => {}
                Message::Closed(code) => panic!("{n}: closed with {code:?} and not told"),
            }
        };
        assert_eq!(seen, last, "what was committed before is there");
        assert_eq!(closing["code"], 1012, "{closing}");
        hints.push(closing["reconnect_after_ms"].as_u64().expect("a hint"));
        let (_, code) = stream.end(LONG);
        assert_eq!(code, (n % 3 != 0).then_some(1012));
    }
    let status = server.wait_exit(LONG);
    assert!(status.success(), "{status}");
    hints.sort_unstable();
    hints.dedup();
    assert!(hints.len() > 5, "the hints are jittered: {hints:?}");
    let cursor = streams[0].cursor().expect("a cursor").to_owned();
    server.resume();
    let next = publish(&api, 1);
    assert_eq!(next, last + 1);
    for live in [Live::Ws, Live::Sse] {
        let mut stream = StreamRequest::new(live).since(&cursor).open(&api);
        assert_eq!(stream.event().0, next, "the epoch is the same, and nothing is lost or repeated");
    }
}

#[test]
fn a_stopping_server_takes_nothing_new_and_answers_what_waits() {
    let mut server = ServerOptions::new().set("drain.timeout", "12s").set("drain.notice", "4s").start();
    let api = server.tenant("acme");
    let mut held: Vec<_> =
        (0..10).map(|n| StreamRequest::new([Live::Ws, Live::Sse][n % 2]).open(&api)).collect();
    let waiting = {
        let api = api.clone();
        thread::spawn(move || {
            let body = json!({ "worker": "w", "types": ["never"], "max": 1, "wait_s": 60 });
            api.post("/api/v1/leases", &body)
        })
    };
    // Streams have left the listener: the long poll alone is there.
    wait::until_true("the long poll to be connected", LONG, || {
        server.metric("listener_connections", "http").is_some_and(|n| n >= 1.0)
    });
    server.terminate();
    let reply = waiting.join().expect("ends").expect("a long poll is answered at once");
    // 503 where the server stopped before it had read the request.
    assert!(matches!(reply.status, 200 | 503), "{} {}", reply.status, reply.text());
    let anonymous = server.anonymous();
    wait::until_true("readiness to turn", LONG, || {
        anonymous.get("/health/ready").expect("the port stays open").status == 503
    });
    for live in [Live::Ws, Live::Sse] {
        let refused = StreamRequest::new(live).try_open(&api).expect("answers").expect_err("must be refused");
        assert_eq!(refused.status, 503, "{live:?}");
        assert!(refused.text().contains("urn:tidings:problem:draining"), "{live:?} {}", refused.text());
        assert!(refused.header("retry-after").is_some(), "{live:?}");
    }
    let last = publish(&api, 1);
    for stream in &mut held {
        assert_eq!(stream.event().0, last, "streams live on meanwhile");
        let (controls, _) = stream.end(LONG);
        let closing = controls.last().expect("it is told");
        assert_eq!(
            (&closing["type"], &closing["code"]),
            (&json!("stream.closing"), &json!(1012)),
            "{closing}"
        );
    }
    assert!(server.wait_exit(LONG).success());
    server.resume();
}

#[test]
fn a_server_that_nobody_is_connected_to_gives_notice_too() {
    let mut server = ServerOptions::new().set("drain.timeout", "8s").set("drain.notice", "2s").start();
    let _ = server.anonymous().get("/health/ready").expect("answers").expect(200);
    let began = Instant::now();
    server.terminate();
    wait::until_true("readiness to turn", LONG, || {
        server.anonymous().get("/health/ready").expect("the port stays open").status == 503
    });
    assert!(server.wait_exit(LONG).success());
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_second_signal_ends_a_server_that_streams_hold_and_loses_nothing_acknowledged() {
    let mut server = ServerOptions::new().set("drain.timeout", "10m").set("drain.notice", "5m").start();
    let api = server.tenant("acme");
    let mut held = StreamRequest::new(Live::Ws).open(&api);
    let _ = held.control("stream.open");
    let last = publish(&api, 5);
    server.terminate();
    wait::until_true("readiness to turn", LONG, || {
        server.anonymous().get("/health/ready").expect("the port stays open").status == 503
    });
    server.terminate();
    let status = server.wait_exit(LONG);
    assert_eq!(status.code(), Some(1), "it was cut: {status}");
    server.resume();
    assert_eq!(publish(&api, 1), last + 1);
}

#[test]
fn a_lease_whose_answer_was_not_delivered_is_given_back() {
    let server = Server::plain();
    let api = server.tenant("acme");
    // A worker that waits and is gone before a job comes: the lease goes to somebody who is there.
    let body = json!({ "worker": "ghost", "types": ["embed"], "max": 1, "wait_s": 60 }).to_string();
    for _ in 0..5 {
        let mut wire = Wire::connect(server.addr, LONG).expect("connects");
        let head = format!(
            "POST /api/v1/leases HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            api.headers(),
            body.len()
        );
        wire.write(head.as_bytes()).expect("sends");
        drop(wire);
    }
    let job = json!({ "type": "embed" });
    let id = api.post("/api/v1/jobs", &job).expect("answers").expect(201).json()["id"].clone();
    let lease = json!({ "worker": "w", "types": ["embed"], "max": 1, "wait_s": 20 });
    let leases = api.post("/api/v1/leases", &lease).expect("answers").expect(200).json();
    assert_eq!(leases["leases"][0]["job"]["id"], id, "well before the 30 s of a lease: {leases}");
    assert_eq!(leases["leases"][0]["attempt"], 1, "and no attempt was spent");
}

#[test]
fn leases_outlive_an_orderly_restart() {
    let mut server = Server::plain();
    let api = server.tenant("acme");
    let id = api.post("/api/v1/jobs", &json!({ "type": "embed" })).expect("answers").expect(201).json()["id"]
        .clone();
    let body = json!({ "worker": "w", "types": ["embed"], "max": 1, "wait_s": 0 });
    let leases = api.post("/api/v1/leases", &body).expect("answers").expect(200).json();
    let path = format!("/api/v1/leases/{}", leases["leases"][0]["lease"].as_str().expect("a token"));
    server.stop();
    server.resume();
    let _ = api.post(&format!("{path}/heartbeat"), &json!({})).expect("answers").expect(200);
    let _ = api.post(&format!("{path}/complete"), &json!({ "result": 1 })).expect("answers").expect(200);
    let job = api.get(&format!("/api/v1/jobs/{}", id.as_str().expect("text"))).expect("answers").json();
    assert_eq!(job["state"], "completed");
}

#[test]
fn a_data_folder_restored_from_an_older_copy_has_another_epoch() {
    let mut server = Server::plain();
    let api = server.tenant("acme");
    publish(&api, 10);
    let before = Log::read(&api, "acme", "");
    server.stop();
    let copy = server.scratch().join("backup");
    copy_folder(&server.data(), &copy);
    server.resume();
    publish(&api, 10);
    let stale = format!("{}:20", before.epoch);
    assert_eq!(Log::read(&api, "acme", "").epoch, before.epoch, "an orderly restart is no restore");
    server.stop();
    fs::remove_dir_all(server.data()).expect("removed");
    fs::rename(&copy, server.data()).expect("restored");
    let keys = ["admin.key"].map(|f| server.data().join(f));
    assert!(keys.iter().all(|k| k.exists()));
    server.resume();
    let after = Log::read(&api, "acme", "");
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(after.events, before.events, "what was in the copy is there");
    // Also once the new history is as long as the old one was: the number alone would fit.
    publish(&api, 10);
    let problem = api.get(&format!("/api/v1/events?since={stale}")).expect("answers").expect_problem(410);
    assert_eq!(problem["reason"], "epoch");
    for live in [Live::Ws, Live::Sse] {
        let mut stream = StreamRequest::new(live).since(&stale).open(&api);
        let reset = stream.control("stream.reset");
        assert_eq!((&reset["reason"], &reset["epoch"]), (&json!("epoch"), &json!(after.epoch)), "{reset}");
        assert_eq!(stream.event().0, 1);
    }
}

#[test]
fn a_database_overwritten_by_an_older_copy_has_another_epoch() {
    let mut server = Server::plain();
    let api = server.tenant("acme");
    publish(&api, 10);
    let before = Log::read(&api, "acme", "");
    server.stop();
    let (data, copy) = (server.data(), server.scratch().join("backup"));
    let databases: Vec<_> = fs::read_dir(&data)
        .expect("reads")
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| fs::read(data.join(name)).is_ok_and(|b| b.starts_with(b"SQLite format 3\0")))
        .collect();
    assert_eq!(databases.len(), 1, "{databases:?}");
    fs::copy(data.join(&databases[0]), &copy).expect("copied");
    server.resume();
    publish(&api, 10);
    server.stop();
    // In place: the same inode, older content.
    fs::write(data.join(&databases[0]), fs::read(&copy).expect("reads")).expect("overwritten");
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(data.join(format!("{}{suffix}", databases[0])));
    }
    server.resume();
    let after = Log::read(&api, "acme", "");
    assert_eq!(after.events, before.events);
    assert_ne!(after.epoch, before.epoch);
}

#[test]
fn a_filtered_subscriber_advances_by_heartbeats_and_never_past_a_match() {
    let server = ServerOptions::new().set("live.heartbeat", "200ms").start();
    let api = server.tenant("acme");
    for live in [Live::Ws, Live::Sse] {
        let mut stream = StreamRequest::new(live).query("types=wanted.*").open(&api);
        let _ = stream.control("stream.open");
        let head = publish(&api, 100);
        let beat = loop {
            let beat = stream.control("stream.heartbeat");
            let cursor = beat["cursor"].as_str().and_then(|c| c.rsplit_once(':')?.1.parse::<u64>().ok());
            let cursor = cursor.expect("a cursor");
            assert!(cursor <= head, "it speaks of what is not there: {beat}");
            if cursor == head {
                break beat;
            }
        };
        assert_eq!(beat["head"], head, "{beat}");
        let wanted = json!({ "type": "wanted.made", "data": 1 });
        let _ = api.post("/api/v1/events", &wanted).expect("answers").expect(201);
        let mut seen = false;
        loop {
            match stream.next(LONG).expect("a message") {
                Message::Event { seq, .. } => {
                    assert_eq!(seq, head + 1);
                    seen = true;
                }
                Message::Control(value) => {
                    let cursor =
                        value["cursor"].as_str().and_then(|c| c.rsplit_once(':')?.1.parse::<u64>().ok());
                    assert!(
                        seen || cursor.is_none_or(|c| c <= head),
                        "past a match that was not sent: {value}"
                    );
                    if seen {
                        break;
                    }
                }
                Message::Closed(code) => panic!("{code:?}"),
            }
        }
        let resumed = stream.cursor().expect("a cursor").to_owned();
        let mut again = StreamRequest::new(live).since(resumed).query("types=wanted.*").open(&api);
        let _ = again.control("stream.open");
        let _ = api.post("/api/v1/events", &wanted).expect("answers").expect(201);
        assert_eq!(again.event().0, head + 2);
        assert!(again.next(Duration::from_millis(20)).is_err());
    }
}
