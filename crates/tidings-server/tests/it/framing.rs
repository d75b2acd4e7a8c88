//! Requests as bytes: what is HTTP of one meaning is served, everything else gets a problem and the connection ends.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::Value;
use tidings_server::Server;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::site::{PATIENCE, configured, folder};

struct Listening {
    server: Server,
    folder: PathBuf,
    auth: String,
}

impl Listening {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[&str]) -> Self {
        let folder = folder();
        let server = Server::start(configured(&folder, settings)).await.expect("starts");
        let key = std::fs::read_to_string(server.new_admin_key().expect("made")).expect("reads");
        let auth = format!(
            "Authorization: Bearer {}\r\nX-Tidings-Tenant: acme\r\nContent-Type: application/json\r\n",
            key.trim()
        );
        Self { server, folder, auth }
    }

    /// A publication whose fields and body are these.
    fn post(&self, rest: &str) -> String {
        format!("POST /api/v1/events HTTP/1.1\r\n{}{rest}", self.auth)
    }

    async fn published(&self) -> u64 {
        let request =
            format!("GET /api/v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", self.auth);
        let answer = exchange(self.server.address(), &request).await;
        body(&answer)["head"].as_u64().expect("a head")
    }

    async fn end(self) {
        self.server.stop().await;
        std::fs::remove_dir_all(&self.folder).expect("the folder can go");
    }
}

/// Sends, and reads until the server closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.expect("connects");
    tcp.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = Vec::new();
    let read = tcp.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, read)
        .await
        .unwrap_or_else(|_| panic!("kept open: {request:.200}"))
        .expect("reads");
    String::from_utf8(answer).expect("text")
}

fn body(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no body: {answer:?}"));
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

/// One whole problem and nothing behind it.
#[track_caller]
fn assert_refused(what: &str, answer: &str, status: u16, slug: &str) -> Value {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
    let head = answer.to_ascii_lowercase();
    assert!(head.contains("\r\nconnection: close\r\n"), "{what}: {answer}");
    assert!(head.contains("\r\ncontent-type: application/problem+json\r\n"), "{what}: {answer}");
    let body = body(answer);
    assert_eq!(body["type"], format!("urn:tidings:problem:{slug}"), "{what}");
    let id = body["request_id"].as_str().expect("a request id");
    assert!(head.contains(&format!("\r\nx-request-id: {id}\r\n")), "{what}: {answer}");
    body
}

const EVENT: &str = r#"{"type":"a.b"}"#;
const CHUNKED: &str = "e\r\n{\"type\":\"a.b\"}\r\n0\r\n\r\n";

#[tokio::test]
async fn requests_of_more_than_one_meaning_are_refused_and_do_nothing() {
    let it = Listening::start().await;
    let inner = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    for (what, request, part) in [
        (
            "a length, then chunks",
            it.post(&format!(
                "Host: x\r\nContent-Length: 14\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKED}{inner}"
            )),
            "both",
        ),
        (
            "chunks, then a length",
            it.post(&format!(
                "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 14\r\n\r\n{CHUNKED}{inner}"
            )),
            "both",
        ),
        (
            "a length twice",
            it.post(&format!("Host: x\r\nContent-Length: 14\r\nContent-Length: 14\r\n\r\n{EVENT}")),
            "Content-Length",
        ),
        (
            "another coding below chunks",
            it.post(&format!("Host: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{CHUNKED}")),
            "Transfer-Encoding",
        ),
        (
            "chunks twice",
            it.post(&format!(
                "Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKED}"
            )),
            "Transfer-Encoding",
        ),
        (
            "bare line feeds",
            it.post(&format!("Host: x\r\nContent-Length: 14\r\n\r\n{EVENT}")).replace("\r\n", "\n"),
            "LF",
        ),
        ("one bare line feed", it.post(&format!("Host: x\r\nContent-Length: 14\r\n\n{EVENT}")), "LF"),
        ("no Host", it.post(&format!("Content-Length: 14\r\n\r\n{EVENT}")), "no Host"),
        (
            "two Hosts",
            it.post(&format!("Host: a\r\nHost: b\r\nContent-Length: 14\r\n\r\n{EVENT}")),
            "more than one Host",
        ),
        ("a bare line feed behind a good request", format!("{inner}GET /health HTTP/1.1\nHost: x\n\n"), "LF"),
    ] {
        let answer = exchange(it.server.address(), &request).await;
        // A good request before it has been answered.
        let refused = answer.rfind("HTTP/1.1 ").map_or("", |at| &answer[at..]);
        let problem = assert_refused(what, refused, 400, "bad-request");
        assert!(problem["detail"].as_str().is_some_and(|d| d.contains(part)), "{what}: {problem}");
    }
    assert_eq!(it.published().await, 0, "nothing of it was done");
    it.end().await;
}

#[tokio::test]
async fn what_cannot_be_read_at_all_is_answered_by_a_problem_too() {
    let it = Listening::start().await;
    let fields = |n: usize| "X-A: b\r\n".repeat(n);
    for (what, request, status, slug) in [
        ("a negative length", it.post("Host: x\r\nContent-Length: -1\r\n\r\n"), 400, "bad-request"),
        (
            "two lengths",
            it.post("Host: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"),
            400,
            "bad-request",
        ),
        ("a folded field", it.post("Host: x\r\nX-A: a\r\n b\r\n\r\n"), 400, "bad-request"),
        ("no HTTP", "\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400, "bad-request"),
        (
            "a long URL",
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(65_535)),
            414,
            "uri-too-long",
        ),
        (
            "many fields",
            format!("GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n", fields(101)),
            431,
            "head-too-large",
        ),
        (
            "a large head",
            format!("GET /health HTTP/1.1\r\nHost: x\r\nX-A: {}\r\n\r\n", "a".repeat(200_000)),
            431,
            "head-too-large",
        ),
    ] {
        let answer = exchange(it.server.address(), &request).await;
        let problem = assert_refused(what, &answer, status, slug);
        let limit = match what {
            "a long URL" => "limits.url_bytes",
            "many fields" => "limits.head_fields",
            "a large head" => "limits.head_bytes",
            _ => continue,
        };
        assert_eq!(problem["limit"], limit, "{what}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(limit)), "{problem}");
    }
    let ops = it.server.ops_address().expect("on");
    assert_refused(
        "at the operators' address",
        &exchange(ops, "GET /metrics HTTP/1.1\r\n\r\n").await,
        400,
        "bad-request",
    );
    let scraped = exchange(ops, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(scraped.contains("http_problems_total{type=\"head-too-large\"} 2"), "{scraped}");
    for limit in ["url_bytes", "head_fields", "head_bytes"] {
        let line = format!("http_requests_limited_total{{limit=\"limits.{limit}\"}} 1\n");
        assert!(scraped.contains(&line), "{scraped}");
    }
    for counted in ["head-too-large\"} 2", "uri-too-long\"} 1"] {
        let line = format!("http_requests_rejected_total{{reason=\"{counted}");
        assert!(scraped.contains(&line), "{scraped}");
    }
    it.end().await;
}

#[tokio::test]
async fn urls_and_heads_may_be_as_large_as_is_configured_to_the_byte() {
    const LIMITS: [&str; 3] = ["limits.url_bytes=300", "limits.head_bytes=5000", "limits.head_fields=20"];
    let it = Listening::with(&LIMITS).await;
    let ask = async |request: String| exchange(it.server.address(), &request).await;
    let get =
        |url: &str, more: &str| format!("GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
    let url = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    let head = |bytes: usize| {
        let rest = get("/health/live", "X-A: \r\n").len();
        get("/health/live", &format!("X-A: {}\r\n", "a".repeat(bytes - rest)))
    };
    let fields = |count: usize| get("/health/live", &"X-A: b\r\n".repeat(count - 2));
    for (what, fits) in [
        ("a URL", get(&url(300), "")),
        ("an absolute URL", get(&format!("http://x{}", url(292)), "")),
        ("a head", head(5_000)),
        ("fields", fields(20)),
    ] {
        let answer = ask(fits).await;
        let status = if what.contains("URL") { "404" } else { "200" };
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
    }
    for (what, request, status, slug, limit) in [
        ("a URL", get(&url(301), ""), 414, "uri-too-long", "limits.url_bytes"),
        (
            "an absolute URL",
            get(&format!("http://x{}", url(293)), ""),
            414,
            "uri-too-long",
            "limits.url_bytes",
        ),
        ("a head", head(5_001), 431, "head-too-large", "limits.head_bytes"),
        (
            "a head without an end",
            "GET /".to_owned() + &"a".repeat(20_000),
            431,
            "head-too-large",
            "limits.head_bytes",
        ),
        ("fields", fields(21), 431, "head-too-large", "limits.head_fields"),
    ] {
        let problem = assert_refused(what, &ask(request).await, status, slug);
        assert_eq!(problem["limit"], limit, "{what}");
    }
    // For the connections that come from now on.
    let reloaded = ["limits.url_bytes=301", "limits.head_bytes=5001", "limits.head_fields=21"];
    it.server.app().reload(&configured(&it.folder, &reloaded)).expect("reloads");
    for (request, status) in [(get(&url(301), ""), 404), (head(5_001), 200), (fields(21), 200)] {
        let answer = ask(request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    it.end().await;
}

#[tokio::test]
async fn requests_of_one_meaning_are_served_one_after_the_other() {
    let it = Listening::start().await;
    let requests = [
        it.post(&format!("Host: x\r\nContent-Length: 14\r\n\r\n{EVENT}")),
        it.post(&format!(
            "host: x\r\ntransfer-encoding: Chunked\r\n\r\n{}",
            CHUNKED.replace("0\r\n\r\n", "0\r\nX-T: t\r\n\r\n")
        )),
        it.post(&format!("Host: x\r\nContent-Encoding: identity\r\nContent-Length: 15\r\n\r\n\n{EVENT}")),
        "GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n".to_owned(),
        "\r\nGET /health HTTP/1.0\r\n\r\n".to_owned(),
    ];
    let answer = exchange(it.server.address(), &requests.concat()).await;
    let statuses: Vec<_> = answer.split("HTTP/1.").skip(1).map(|a| a[2..5].to_owned()).collect();
    assert_eq!(statuses, ["201", "201", "201", "200", "200"], "{answer}");
    assert_eq!(it.published().await, 3);
    it.end().await;
}
