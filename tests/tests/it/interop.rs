//! Peers of other makers see the same events with the same numbers.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::json;
use tidings_tests::{
    Server, ServerOptions,
    history::Log,
    interop::{CredentialProxy, peer, script},
};

/// A peer that prints one envelope a line.
struct Peer {
    name: &'static str,
    child: Child,
}

impl Peer {
    fn start(name: &'static str, mut command: Command) -> Self {
        Self { name, child: command.stdout(Stdio::piped()).spawn().expect("the peer starts") }
    }

    /// Its lines, as numbered events, until it ends by itself.
    fn events(mut self) -> Vec<(u64, String)> {
        let lines = BufReader::new(self.child.stdout.take().expect("piped")).lines();
        let events = lines.map(|line| {
            let line = line.expect("text");
            let seq =
                tidings_tests::stream::leading_seq(&line).unwrap_or_else(|| panic!("{}: {line}", self.name));
            (seq, line)
        });
        let events = events.collect();
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{}: {status}", self.name);
        events
    }
}

#[test]
fn other_makers_clients_read_the_same_bytes() {
    const EVENTS: usize = 500;
    let server = Server::plain();
    let api = server.tenant("acme");
    let (url, token) = (server.addr.to_string(), api.token.clone().expect("a token"));
    let python = |name: &str| {
        let mut command = script("subscribe.py");
        command.args([name, &url, &EVENTS.to_string()]).env("TOKEN", &token);
        command
    };
    let peers = [
        Peer::start("websockets", python("websockets")),
        Peer::start("httpx-sse", python("httpx-sse")),
        Peer::start("sseclient", python("sseclient")),
        Peer::start("node fetch", {
            let mut command = Command::new("node");
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/subscribe.mjs");
            command.args([path, &url, &EVENTS.to_string()]).env("TOKEN", &token);
            command
        }),
        Peer::start("tidings tail", {
            let count = EVENTS.to_string();
            server.client_command(&token, &["tail", "--json", "--since", "0", "--count", &count])
        }),
    ];
    for n in 0..EVENTS / 10 {
        let batch: Vec<_> = (0..10)
            .map(|i| json!({ "type": "a.b", "data": { "n": n * 10 + i, "é": "\u{1F4EF}\n" } }))
            .collect();
        let _ = api.post("/api/v1/events", &batch).expect("answers").expect(201);
    }
    let log = Log::read(&api, "acme", "");
    for peer in peers {
        let name = peer.name;
        log.assert_delivered(name, &peer.events(), |_| true);
    }
}

#[test]
fn the_websocket_stack_conforms() {
    let server = ServerOptions::new()
        .arg("--debug-echo")
        .set("limits.frame_bytes", 64 << 20)
        .set("limits.messages_per_connection", "off")
        .start();
    let api = server.tenant("acme");
    let proxy = CredentialProxy::start(server.addr, api.token.as_deref().expect("a token")).expect("starts");
    let reports = server.scratch().join("reports");
    // 12.* and 13.* are compression, which is not offered; 9.3.1 and 9.4.1 send one message in 65,536
    // pieces, four times as many as are taken.
    let output = peer("kosoku")
        .arg(format!("ws://{}/api/v1/echo", proxy.addr))
        .args([
            "--exclude",
            "12.*",
            "--exclude",
            "13.*",
            "--exclude",
            "9.3.1",
            "--exclude",
            "9.4.1",
            "--parallelism",
            "4",
            "--outdir",
        ])
        .arg(&reports)
        .output()
        .expect("kosoku runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let passed: usize = said
        .lines()
        .find_map(|l| l.strip_suffix(" cases passed")?.trim().parse().ok())
        .unwrap_or_else(|| panic!("no count in: {said}"));
    assert!(passed >= 290, "{passed} cases are not the suite");
    assert!(fs::read_dir(&reports).is_ok_and(|mut r| r.next().is_some()), "a report was written");
}
