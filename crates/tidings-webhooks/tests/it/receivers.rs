//! The receivers of `examples/`, as the guide describes them: each in its own language, all by the same script.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Value, json};
use tidings_core::webhook::Headers;
use tidings_testkit::wait;
use tidings_webhooks::{
    sender::{HeaderTemplate, Request, Stamp},
    signing::{SigningKey, sign},
};

use crate::{
    peers::{now, root},
    receiver::Receiver,
    site::{PATIENT, Site},
};

const LANGUAGES: [&str; 3] = ["py", "mjs", "rs"];
const SECRET: [u8; 32] = [5; 32];

/// A receiver that runs.
struct Running {
    child: Child,
    said: BufReader<ChildStdout>,
    url: String,
}

impl Running {
    fn start(language: &str, folder: &Path, tidings: Option<&Receiver>) -> Self {
        let mut command = command(language, folder);
        command.args(["0".as_ref(), folder.join("received").as_os_str()]);
        command.env("WEBHOOK_SECRET", &*SigningKey::new_v1(&SECRET).text);
        if let Some(tidings) = tidings {
            command.env("TIDINGS_URL", format!("http://{}", tidings.addr)).env("TIDINGS_TOKEN", "secret");
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said, url: String::new() }
    }

    /// What it says until it listens.
    fn until_it_listens(&mut self) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let line = self.line();
            match line.strip_prefix("listening on ") {
                Some(port) => self.url = format!("http://127.0.0.1:{port}/"),
                None => before.push(line),
            }
            if !self.url.is_empty() {
                return before;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.said.read_line(&mut line).unwrap() > 0, "it ended");
        line.trim_end().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(language: &str, folder: &Path) -> Command {
    let script = root().join(format!("examples/webhook-receivers/receiver.{language}"));
    match language {
        "py" => {
            let mut command = Command::new(root().join("target/peers/bin/python"));
            command.arg(script);
            command
        }
        // It looks for its library where it lies.
        "mjs" => {
            let (here, modules) = (folder.join("receiver.mjs"), folder.join("node_modules"));
            fs::copy(script, &here).unwrap();
            if !modules.exists() {
                let installed = root().join("target/peers-node/node_modules").canonicalize();
                std::os::unix::fs::symlink(installed.expect("run: scripts/prepare test"), modules).unwrap();
            }
            let mut command = Command::new("node");
            command.arg(here);
            command
        }
        _ => Command::new(example()),
    }
}

/// Built beside this test, though not where cargo is given a test's name.
fn example() -> PathBuf {
    let path = std::env::current_exe().unwrap().parent().unwrap().join("../examples/receiver");
    assert!(path.exists(), "it is missing; run: cargo build -p tidings-webhooks --example receiver");
    path
}

fn event(seq: u64, subject: &str) -> Value {
    json!({"seq": seq, "type": "note.changed", "subject": subject, "data": {"text": "☃"}})
}

/// Posts it as Tidings does, signed under `secret` at `timestamp`.
async fn post(site: &Site, url: &str, event: &Value, secret: &[u8; 32], timestamp: i64) -> u16 {
    let (destination, body) = (site.destination(url), event.to_string());
    let id = format!("evt_{}", event["seq"]);
    let signature = sign([&SigningKey::new_v1(secret).key], &id, timestamp, body.as_bytes());
    let template =
        HeaderTemplate::new("0.1.0", HeaderValue::from_static("application/json"), &Headers::default());
    let headers = template.stamp(Stamp { id: &id, timestamp, signature, traceparent: None });
    let request = Request { destination: &destination, headers, body: Bytes::from(body), timeouts: PATIENT };
    site.sender.send(request).await.unwrap().status.unwrap()
}

#[tokio::test]
async fn each_verifies_keeps_events_once_and_lets_the_newest_win() {
    let site = Site::open();
    for language in LANGUAGES {
        let folder = tempfile::tempdir().unwrap();
        let mut receiver = Running::start(language, folder.path(), None);
        receiver.until_it_listens();
        let url = receiver.url.clone();
        let good = |seq, subject| (event(seq, subject), SECRET, now());
        for ((event, secret, timestamp), status) in [
            (good(1, "note/1"), 204),
            (good(3, "note/1"), 204),
            (good(3, "note/1"), 204),
            (good(2, "note/1"), 204),
            ((event(4, "note/1"), [6; 32], now()), 401),
            ((event(4, "note/1"), SECRET, now() - 600), 401),
            (good(4, "note/2"), 204),
        ] {
            assert_eq!(post(&site, &url, &event, &secret, timestamp).await, status, "{language}: {event}");
        }
        let applied: Vec<String> = (0..3).map(|_| receiver.line()).collect();
        let expected = ["applied 1 note.changed", "applied 3 note.changed", "applied 4 note.changed"];
        assert_eq!(applied, expected, "{language}");

        // What it has had it knows after a restart.
        drop(receiver);
        let mut again = Running::start(language, folder.path(), None);
        again.until_it_listens();
        for seq in [3, 2, 5] {
            assert_eq!(
                post(&site, &again.url, &event(seq, "note/1"), &SECRET, now()).await,
                204,
                "{language}"
            );
        }
        assert_eq!(again.line(), "applied 5 note.changed", "{language}");
        let kept = fs::read_to_string(folder.path().join("received/events.jsonl")).unwrap();
        assert_eq!(kept.lines().count(), 5, "{language}");
    }
}

#[tokio::test]
async fn each_catches_up_with_the_log_from_where_it_was() {
    for language in LANGUAGES {
        let folder = tempfile::tempdir().unwrap();
        let tidings = log();
        let mut receiver = Running::start(language, folder.path(), Some(&tidings));
        let caught_up = receiver.until_it_listens();
        assert_eq!(
            caught_up,
            ["applied 1 note.changed", "applied 2 note.changed", "applied 3 note.changed"],
            "{language}"
        );
        drop(receiver);
        let asked = |tidings: &Receiver| -> Vec<String> {
            let messages = tidings.messages();
            assert!(messages.iter().all(|message| message.header("authorization") == Some("Bearer secret")));
            messages.iter().map(|message| message.head[0].clone()).collect()
        };
        let get = |since: &str| format!("GET /api/v1/events?since={since}&limit=1000 HTTP/1.1");
        assert_eq!(asked(&tidings), [get("0"), get("e%3A2"), get("e%3A3")], "{language}");

        // Its cursor is too old by now: what is kept is read again, and known.
        let pruned = Receiver::start(|line| {
            loop {
                line.message()?;
                let first = line.last().head[0].clone();
                let answer = if first.contains("since=e") { gone() } else { page(&[3, 4], "e:4") };
                let answer = if first.contains("since=e%3A4") { page(&[], "e:4") } else { answer };
                line.say(&answer)?;
            }
        });
        let mut again = Running::start(language, folder.path(), Some(&pruned));
        assert_eq!(again.until_it_listens(), ["applied 4 note.changed"], "{language}");
        drop(again);
        assert_eq!(asked(&pruned), [get("e%3A3"), get("0"), get("e%3A4")], "{language}");
        wait::until_true("its cursor", wait::LONG, || {
            fs::read_to_string(folder.path().join("received/cursor")).is_ok_and(|cursor| cursor == "e:4")
        });
    }
}

/// A log of three events, two on its first page.
fn log() -> Receiver {
    Receiver::start(|line| {
        loop {
            line.message()?;
            let first = line.last().head[0].clone();
            line.say(&match first.split(['=', '&']).nth(1) {
                Some("0") => page(&[1, 2], "e:2"),
                Some("e%3A2") => page(&[3], "e:3"),
                _ => page(&[], "e:3"),
            })?;
        }
    })
}

fn page(seqs: &[u64], next: &str) -> String {
    let events: Vec<_> = seqs.iter().map(|seq| event(*seq, "note/1")).collect();
    let body = json!({"events": events, "next": next, "head": 9, "oldest": 1}).to_string();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn gone() -> String {
    "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n".to_owned()
}
