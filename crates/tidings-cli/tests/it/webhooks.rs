//! Webhooks from the command line, and received on a laptop.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::Stdio,
};

use tidings_webhooks::signing::{SigningKey, sign};

use crate::harness::{Running, Server};

const LOCAL: &str = "webhooks.allow_cidrs=[\"127.0.0.0/8\"]";

#[test]
fn an_endpoint_is_made_changed_and_taken_away() {
    let server = Server::start(&[LOCAL]);
    let url = "http://127.0.0.1:9/hook";
    let made =
        server.ok(&["webhooks", "create", url, "--types", "job.*", "--header", "x-team: eu", "--ordered"]);
    let (id, secret) = made.trim().split_once('\n').expect("an id and a secret");
    assert!(secret.starts_with("whsec_"), "{made}");
    let show = |id: &str| -> serde_json::Value {
        serde_json::from_str(&server.ok(&["webhooks", "show", id, "--json"])).expect("JSON")
    };
    let shown = show(id);
    assert_eq!(shown["filter"], serde_json::json!({"types": ["job.*"]}));
    assert_eq!((&shown["ordered"], &shown["headers"]["x-team"]), (&true.into(), &"eu".into()));
    assert!(server.ok(&["webhooks", "list"]).contains(url));
    server.ok(&[
        "webhooks",
        "update",
        id,
        "--concurrency",
        "2",
        "--retries",
        "standard",
        "--ordered",
        "false",
    ]);
    let shown = show(id);
    assert_eq!(shown["concurrency"], 2);
    assert_eq!((&shown["retries"], &shown["ordered"]), (&"standard".into(), &false.into()));
    server.ok(&["webhooks", "pause", id]);
    server.ok(&["publish", "note.created", "1"]);
    assert!(server.ok(&["webhooks", "show", id]).contains("paused"));
    server.ok(&["webhooks", "enable", id, "--from", "now"]);
    assert_eq!((&show(id)["state"], &show(id)["cursor"]), (&"active".into(), &1.into()));
    let rotated = server.ok(&["webhooks", "rotate-secret", id, "--overlap", "1h"]);
    assert!(rotated.starts_with("whsec_") && rotated.trim() != secret, "{rotated}");
    server.ok(&["webhooks", "replay", id, "--seq", "1"]);
    server.ok(&["webhooks", "replay", id, "--failures"]);
    assert_eq!(server.ok(&["webhooks", "deliveries", id, "--state", "dead"]), "");
    server.ok(&["webhooks", "delete", id]);
    let gone = server.run(&["webhooks", "show", id]);
    assert!(String::from_utf8_lossy(&gone.stderr).contains("Not found"), "{gone:?}");
    let inside = server.run(&["webhooks", "create", "http://10.0.0.1/"]);
    assert!(!inside.status.success());
    assert!(String::from_utf8_lossy(&inside.stderr).contains("private address"), "{inside:?}");
}

#[test]
fn a_private_key_is_not_shown_and_the_public_one_is() {
    let server = Server::start(&[]);
    let url = "https://93.184.216.34/hook";
    let told = |args: &[&str]| {
        let output = server.run(args);
        assert!(output.status.success(), "{output:?}");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (out.into_owned(), err.into_owned())
    };
    let (out, err) = told(&["webhooks", "create", url, "--key-pair"]);
    let (id, key) = out.trim().split_once('\n').expect("an id and a key");
    assert!(key.starts_with("whpk_") && !format!("{out}{err}").contains("whsk_"), "{out}{err}");
    assert!(told(&["webhooks", "show", id]).0.contains(key));
    let (out, err) = told(&["webhooks", "rotate-secret", id]);
    assert!(out.starts_with("whpk_") && out.trim() != key, "{out}");
    assert!(!format!("{out}{err}").contains("whsk_"), "{out}{err}");
    let made = server.ok(&["webhooks", "create", url]);
    let (out, _) = told(&["webhooks", "rotate-secret", made.lines().next().expect("an id"), "--kind", "v1a"]);
    assert!(out.starts_with("whpk_"), "{out}");
    // Programs get what the API answers.
    assert!(server.ok(&["webhooks", "create", url, "--key-pair", "--json"]).contains("\"secret\":\"whsk_"));
}

#[test]
fn what_is_set_is_shown_and_can_be_taken_away() {
    let server = Server::start(&[]);
    let made = server.ok(&[
        "webhooks",
        "create",
        "https://93.184.216.34/hook",
        "--types",
        "job.*,note.created",
        "--rate",
        "10/s",
        "--timeout",
        "5s",
        "--retries",
        "10s,5m",
        "--header",
        "x-team: eu",
        "--metadata",
        "plan=gold",
        "--jitter",
        "7",
        "--ordered",
    ]);
    let id = made.lines().next().expect("an id");
    let shown = server.ok(&["webhooks", "show", id]);
    let line = |shown: &str, name: &str| {
        let found = shown.lines().find_map(|line| line.strip_prefix(&format!("{name:<14} ")));
        found.map(str::to_owned)
    };
    for (name, value) in [
        ("filter", r#"{"types":["job.*","note.created"]}"#),
        ("verbosity", "minimal"),
        ("format", "standard"),
        ("ordered", "true"),
        ("concurrency", "8"),
        ("rate", "10/s"),
        ("timeout", "5s"),
        ("retries", r#"["10s","5m"]"#),
        ("jitter", "7 %"),
        ("probe", "true"),
        ("headers", r#"{"x-team":"eu"}"#),
        ("metadata", r#"{"plan":"gold"}"#),
    ] {
        assert_eq!(line(&shown, name).as_deref(), Some(value), "{name} in {shown}");
    }
    assert!(line(&shown, "grant").is_some_and(|grant| grant.contains("events:read")), "{shown}");
    assert!(line(&shown, "secret").is_some_and(|secret| secret.starts_with("v1 ")), "{shown}");
    server.ok(&["webhooks", "rotate-secret", id]);
    assert!(server.ok(&["webhooks", "show", id]).contains(", until "));
    let changed = server.ok(&[
        "webhooks",
        "update",
        id,
        "--unset",
        "rate,retries",
        "--unset",
        "headers.x-team",
        "--jitter",
        "0",
    ]);
    assert_eq!((line(&changed, "rate"), line(&changed, "headers")), (None, None), "{changed}");
    assert_eq!(line(&changed, "retries").as_deref(), Some("default"), "{changed}");
    assert_eq!(line(&changed, "jitter").as_deref(), Some("0 %"), "{changed}");
    assert_eq!(line(&changed, "metadata").as_deref(), Some(r#"{"plan":"gold"}"#), "{changed}");
}

#[test]
fn a_call_that_makes_no_sense_is_refused_at_once() {
    // Refused before anything is asked: nobody answers there.
    let (id, nobody) =
        ("019ab0c4-0000-7000-8000-000000000000", ["--url", "http://127.0.0.1:9", "--token", "x"]);
    let folder = tempfile::tempdir().expect("a folder");
    for (args, part) in [
        (&["webhooks", "listen", "--forward", "ftp://127.0.0.1/x"][..], "http"),
        (&["webhooks", "listen", "--forward", "nowhere"], "--forward"),
        (&["webhooks", "listen", "--forward", "http://127.0.0.1:9/", "--secret", "bad"], "whsec_"),
        (&["webhooks", "deliveries", id, "--limit", "0"], "--limit"),
        (&["webhooks", "pause"], "--user"),
        (&["webhooks", "update", id], "nothing to change"),
        (&["webhooks", "update", id, "--rate", "1/s", "--unset", "rate"], "rate"),
        (&["webhooks", "update", id, "--unset", "colour"], "colour"),
    ] {
        let mut command = crate::harness::tidings(folder.path());
        let output = command.args(args).args(nobody).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(part), "{args:?}: {told}");
    }
}

/// One request: its headers and its body.
struct Received {
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

fn receive(listener: &TcpListener, status: &str) -> Received {
    let (mut stream, _) = listener.accept().expect("somebody posts");
    let mut reader = BufReader::new(stream.try_clone().expect("clones"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("reads");
    assert_eq!(line, "POST /hook HTTP/1.1\r\n");
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).expect("reads");
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().expect("a length")];
    reader.read_exact(&mut body).expect("reads");
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").expect("answers");
    Received { headers, body }
}

#[test]
fn a_test_says_what_came_of_it_and_attempts_are_followed() {
    let server = Server::start(&[LOCAL]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
    let made = server.ok(&["webhooks", "create", &url]);
    let id = made.lines().next().expect("an id");
    let try_it = |status: &str| {
        std::thread::scope(|scope| {
            let answering = scope.spawn(|| receive(&listener, status));
            let output = server.run(&["webhooks", "test", id]);
            let event: serde_json::Value =
                serde_json::from_slice(&answering.join().expect("it came").body).expect("the envelope");
            assert_eq!((&event["type"], &event["seq"]), (&"webhook.test".into(), &0.into()));
            (output.status.code(), String::from_utf8(output.stdout).expect("text"))
        })
    };
    let (code, text) = try_it("204 OK");
    assert!(code == Some(0) && text.starts_with("delivered, status 204, "), "{code:?} {text}");
    let (code, text) = try_it("500 No");
    assert!(code == Some(1) && text.starts_with("not delivered (status), status 500, "), "{code:?} {text}");
    let none = server.run(&["webhooks", "test", "019ab0c4-0000-7000-8000-000000000000"]);
    assert_eq!(none.status.code(), Some(4));

    let mut command = server.command(&["webhooks", "tail", id, "--json"]);
    command.stdout(Stdio::piped());
    let mut tail = Running(command.spawn().expect("it runs"));
    let mut lines = BufReader::new(tail.0.stdout.take().expect("piped")).lines();
    // Published until it looks: what was there before is not told.
    let answering = std::thread::spawn(move || {
        loop {
            receive(&listener, "204 OK");
        }
    });
    let (told, first) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || told.send(lines.next().expect("a line").expect("reads")));
    let line = crate::harness::eventually("an attempt is told", || {
        server.ok(&["publish", "note.created", "1"]);
        first.try_recv().ok()
    });
    let attempt: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(attempt["status"], 204, "{attempt}");
    reading.join().expect("it read").expect("it was heard");
    drop(answering);
}

#[test]
fn a_laptop_receives_events_signed_like_a_webhook() {
    let server = Server::start(&[]);
    server.ok_with(&["publish", "note.created", "-"], "1\n2\n3\n");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let forward = format!("http://{}/hook", listener.local_addr().expect("bound"));
    let made = SigningKey::new_v1(&[7; 32]);
    let args =
        ["webhooks", "listen", "--forward", &forward, "--secret", &made.text, "--since", "0", "--count", "3"];
    let mut command = server.command(&args);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut listen = Running(command.spawn().expect("it runs"));
    let mut ids = Vec::new();
    for status in ["500 no", "200 OK", "204 OK", "200 OK"] {
        let Received { headers, body } = receive(&listener, status);
        let timestamp: i64 = headers["webhook-timestamp"].parse().expect("seconds");
        let expected = sign([&made.key], &headers["webhook-id"], timestamp, &body);
        assert_eq!(headers["webhook-signature"], expected.to_str().expect("text"));
        assert_eq!(headers["x-webhook-id"], headers["webhook-id"]);
        assert!(headers["user-agent"].starts_with("tidings-webhook/"));
        let event: serde_json::Value = serde_json::from_slice(&body).expect("the envelope");
        ids.push((event["seq"].as_u64().expect("a seq"), headers["webhook-id"].clone()));
    }
    assert_eq!(
        ids.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(),
        [1, 1, 2, 3],
        "in order, and tried again"
    );
    assert_eq!(ids[0].1, ids[1].1, "under the same id");
    assert!(listen.0.wait().expect("it ends").success());
}
