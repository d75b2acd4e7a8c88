//! The receivers of `examples/webhook-receivers`, each against a whole server.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use http::Method;
use serde_json::{Value, json};
use tidings_core::{Clock as _, SystemClock};
use tidings_server::Server;
use tidings_webhooks::signing::{SigningKey, sign};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};

use crate::{
    cluster::until,
    site::{As, PATIENCE, Site},
};

#[derive(Debug, Clone, Copy)]
enum Language {
    Python,
    Node,
    Rust,
}

#[tokio::test]
async fn the_receiver_in_python_keeps_what_the_guide_promises() {
    keeps_its_promises(Language::Python).await;
}

#[tokio::test]
async fn the_receiver_in_javascript_keeps_what_the_guide_promises() {
    keeps_its_promises(Language::Node).await;
}

#[tokio::test]
async fn the_receiver_in_rust_keeps_what_the_guide_promises() {
    keeps_its_promises(Language::Rust).await;
}

async fn keeps_its_promises(language: Language) {
    let mut partner = Partner::open(language).await;
    let tried = partner.act("test", json!({})).await.ok(200);
    assert_eq!((&tried["delivered"], &tried["status"]), (&json!(true), &json!(204)), "{tried}");

    // Events of other types are holes in what it gets.
    partner.publish(&["note.a", "other.b", "note.c"]).await;
    partner.until_handled(&[1, 3]).await;

    partner.assert_refuses_forgeries().await;

    // Sent twice, handled once.
    partner.act("replay", json!({"from": 1, "to": 3})).await.ok(202);
    until("both are sent again", async || partner.attempts(1).await == 2 && partner.attempts(3).await == 2)
        .await;
    assert_eq!(partner.handled(), [1, 3]);

    // What the endpoint passed over is read from the log.
    partner.act("pause", json!({})).await.ok(200);
    let paused = "webhook_endpoints{state=\"paused\"} 1";
    until("nothing more is sent", async || partner.site.app.scrape().contains(paused)).await;
    partner.publish(&["note.d", "note.e"]).await;
    partner.act("enable", json!({"from": "now"})).await.ok(200);
    partner.publish(&["note.f"]).await;
    partner.until_handled(&[1, 3, 4, 5, 6]).await;
    until("the last is told", async || partner.attempts(6).await == 1).await;
    assert_eq!(partner.attempts(4).await, 0);

    // Another secret, of another kind: the old one still counts, then the new one alone is known.
    let rotated = partner.act("rotate-secret", json!({"secret_kind": "v1a"})).await.ok(200);
    partner.publish(&["note.g"]).await;
    partner.until_handled(&[1, 3, 4, 5, 6, 7]).await;
    until("it was verified with the old secret", async || partner.attempts(7).await == 1).await;
    partner.process.kill().await.expect("it ends");
    partner.publish(&["note.h"]).await;
    let public = rotated["secrets"][1]["public_key"].as_str().expect("a public key").to_owned();
    partner.run(&public).await;
    partner.until_handled(&[1, 3, 4, 5, 6, 7, 8]).await;
    let tried = partner.act("test", json!({})).await.ok(200);
    assert_eq!(tried["status"], 204, "verified with the new key: {tried}");
    partner.assert_refuses_forgeries().await;
    partner.close().await;
}

/// A receiver, and the endpoint that sends to it.
struct Partner {
    language: Language,
    site: Site,
    server: Server,
    who: As,
    /// What it reads the log with.
    reader: As,
    endpoint: String,
    secret: String,
    process: Child,
    port: u16,
}

impl Partner {
    async fn open(language: Language) -> Self {
        let (site, server) = Site::listening(&["webhooks.allow_cidrs=[\"127.0.0.0/8\"]"]).await;
        let who = site.operator("acme");
        // The receiver's port is known when it runs, and it runs when its secret is known.
        let first = json!({"url": "http://127.0.0.1:9/hook", "filter": {"types": ["note.*"]}});
        let made = site.post("/api/v1/webhooks", &who, &first).await.ok(201);
        let reader = site.key("acme", None, "events:read").await;
        let text = |field: &str| made[field].as_str().expect("a text").to_owned();
        let (endpoint, secret) = (format!("/api/v1/webhooks/{}", text("id")), text("secret"));
        let (process, port) = start(language, &site, &server, &secret, &reader).await;
        let partner = Self { language, site, server, who, reader, endpoint, secret, process, port };
        partner.turn().await;
        partner
    }

    /// Runs it anew, on another port, with nothing but this secret.
    async fn run(&mut self, secret: &str) {
        (self.process, self.port) =
            start(self.language, &self.site, &self.server, secret, &self.reader).await;
        self.turn().await;
    }

    async fn turn(&self) {
        let url = json!({"url": format!("http://127.0.0.1:{}/hook", self.port)}).to_string();
        self.site.send(Method::PATCH, &self.endpoint, Some(&self.who), &[], Some(&url)).await.ok(200);
    }

    async fn act(&self, action: &str, body: Value) -> crate::site::Answer {
        self.site.post(&format!("{}/{action}", self.endpoint), &self.who, &body).await
    }

    async fn publish(&self, types: &[&str]) {
        let events: Vec<_> =
            types.iter().map(|name| json!({"type": name, "data": {"text": "naïve ☃"}})).collect();
        self.site.post("/api/v1/events", &self.who, &json!(events)).await.ok(201);
    }

    /// How often an event was sent.
    async fn attempts(&self, seq: u64) -> usize {
        let path = format!("{}/deliveries?seq={seq}", self.endpoint);
        let page = self.site.get(&path, &self.who).await.ok(200);
        page["deliveries"].as_array().map_or(0, Vec::len)
    }

    /// What it has handled, in its order.
    fn handled(&self) -> Vec<u64> {
        let text = std::fs::read_to_string(state(&self.site)).unwrap_or_default();
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        entries.filter_map(|entry| entry["event"]["seq"].as_u64()).collect()
    }

    async fn until_handled(&self, seqs: &[u64]) {
        let done = timeout(PATIENCE, until("handled", async || self.handled().len() >= seqs.len())).await;
        assert_eq!(self.handled(), seqs, "{:?}: {done:?}", self.language);
    }

    async fn assert_refuses_forgeries(&self) {
        let (before, now) = (self.handled(), SystemClock.now().as_secs());
        let (ours, others) =
            (SigningKey::parse(&self.secret).expect("a secret"), SigningKey::new_v1(&[9; 32]).key);
        let others_pair = SigningKey::new_v1a(&[9; 32]).key;
        let body = r#"{"seq":99,"id":"forged","type":"note.z","data":1}"#;
        let signed = |key: &SigningKey, id: &str, at: i64, body: &str| {
            sign([key], id, at, body.as_bytes()).to_str().expect("text").to_owned()
        };
        for (what, signature, id, at) in [
            ("another's secret", signed(&others, "a", now, body), "a", now),
            ("another's key pair", signed(&others_pair, "a", now, body), "a", now),
            ("another id", signed(&ours, "a", now, body), "b", now),
            ("another time", signed(&ours, "a", now, body), "a", now - 1),
            ("another body", signed(&ours, "a", now, "{}"), "a", now),
            ("too old", signed(&ours, "a", now - 3_600, body), "a", now - 3_600),
            ("nothing like base64", "v1,* v1a,*".to_owned(), "a", now),
        ] {
            let head =
                format!("webhook-id: {id}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: {signature}\r\n");
            assert_eq!(self.send(&head, body).await, 401, "{:?}: {what}", self.language);
        }
        assert_eq!(self.send("", body).await, 401, "{:?}: unsigned", self.language);
        assert_eq!(self.handled(), before);
    }

    /// Posts past the server; the status.
    async fn send(&self, head: &str, body: &str) -> u16 {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.port)).await.expect("connects");
        let request = format!(
            "POST /hook HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{head}\r\n{body}",
            body.len()
        );
        tcp.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        timeout(PATIENCE, tcp.read_to_string(&mut answer)).await.expect("answers").expect("reads");
        answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("{answer:?}"))
    }

    async fn close(mut self) {
        self.process.kill().await.expect("it ends");
        self.server.stop().await;
        std::fs::remove_dir_all(self.site.folder()).expect("the folder can go");
    }
}

fn state(site: &Site) -> PathBuf {
    site.folder().join("handled.jsonl")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("it is there")
}

/// Starts a receiver; the port that it says it listens on.
async fn start(language: Language, site: &Site, server: &Server, secret: &str, reader: &As) -> (Child, u16) {
    let mut process = program(language)
        .env("WEBHOOK_SECRETS", secret)
        .env("TIDINGS_URL", format!("http://{}", server.address()))
        .env("TIDINGS_TOKEN", reader.token())
        .env("FILTER", "types=note.*")
        .env("STATE", state(site))
        .env("PORT", "0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("reads").expect("a line");
    let port = line.strip_prefix("listening on ").and_then(|port| port.parse().ok());
    let port = port.unwrap_or_else(|| panic!("{line:?}"));
    // Read on, so that it is never held up by its own words.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (process, port)
}

fn program(language: Language) -> Command {
    let (examples, peers) = (root().join("examples/webhook-receivers"), root().join("target/peers"));
    let packages = root().join("target/peers-node");
    assert!(peers.exists() && packages.exists(), "peers are missing; run: scripts/prepare test");
    match language {
        Language::Python => {
            let mut command = Command::new(peers.join("bin/python"));
            command.arg(examples.join("receiver.py"));
            command
        }
        Language::Node => {
            let mut command = Command::new("node");
            command.arg(examples.join("receiver.mjs")).env("PACKAGES", packages);
            command
        }
        Language::Rust => {
            let test = std::env::current_exe().expect("a test knows its own path");
            let path =
                test.ancestors().nth(2).expect("target/<profile>/deps/<test>").join("webhook-receiver");
            assert!(path.exists(), "{} is missing; run: cargo build -p webhook-receiver", path.display());
            Command::new(path)
        }
    }
}
