//! Streams through a whole server: handshake, takeover, limits, and the same mounted elsewhere.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::extract::{FromRef as _, FromRequestParts as _};
use tidings_core::{Entropy as _, SystemEntropy, TenantId};
use tidings_delivery::{PROBLEMS, Protocol};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{Desk, asking::Asking};
use crate::{
    Server,
    config::{Config, Loaded, Sources},
    listener::{BoundSocket, ListenerConfig, Owner, Stop},
    problem::Kind,
    settings::Settings,
    tenants::TenantAdmin,
};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const PATIENCE: Duration = Duration::from_secs(20);

/// A server in a folder of its own.
struct Running {
    server: Server,
    key: String,
    folder: PathBuf,
}

fn folder() -> PathBuf {
    let mut name = [0; 8];
    SystemEntropy.fill(&mut name);
    std::env::temp_dir().join(format!("tidings-streams-{:016x}", u64::from_le_bytes(name)))
}

impl Running {
    async fn start(settings: &[&str]) -> Self {
        Self::start_by(None, settings).await
    }

    async fn start_by(file: Option<PathBuf>, settings: &[&str]) -> Self {
        let folder = folder();
        let mut sets = vec![
            format!("server.data={}", folder.display()),
            "server.listen=127.0.0.1:0".into(),
            "server.ops_listen=off".into(),
        ];
        sets.extend(settings.iter().map(|s| (*s).to_owned()));
        let loaded =
            Loaded::load(Sources { file, sets, ..Sources::default() }).expect("a valid configuration");
        let server = Server::start(loaded).await.expect("starts");
        let key = std::fs::read_to_string(&server.app().admin_key().path)
            .expect("the key's file")
            .trim()
            .to_owned();
        Self { server, key, folder }
    }

    async fn connect(&self) -> Client {
        Client::to(self.server.address()).await
    }

    /// Headers that a request of the administrator's has.
    fn auth(&self) -> String {
        format!("Host: x\r\nAuthorization: Bearer {}\r\nX-Tidings-Tenant: acme\r\n", self.key)
    }

    fn upgrade(&self, query: &str) -> String {
        format!("GET /api/v1/ws{query} HTTP/1.1\r\n{}{HANDSHAKE}\r\n", self.auth())
    }

    fn sse(&self, version: &str, more: &str) -> String {
        format!("GET /api/v1/events HTTP/{version}\r\n{}Accept: text/event-stream\r\n{more}\r\n", self.auth())
    }

    fn publish(&self) -> String {
        let body = r#"{"type":"note.created","data":{"n":1}}"#;
        let length = body.len();
        format!(
            "POST /api/v1/events HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            self.auth()
        )
    }

    async fn published(&self) {
        let mut client = self.connect().await;
        client.send(&self.publish()).await;
        client.until("\"seq\":").await;
    }

    async fn end(self) {
        self.server.stop().await;
        std::fs::remove_dir_all(&self.folder).expect("the folder can go");
    }
}

/// Reads text as it comes.
struct Client {
    tcp: TcpStream,
    seen: Vec<u8>,
}

impl Client {
    async fn to(address: std::net::SocketAddr) -> Self {
        Self { tcp: TcpStream::connect(address).await.expect("connects"), seen: Vec::new() }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).await.expect("sends");
    }

    /// Reads until `part` has come; returns everything up to and with it.
    async fn until(&mut self, part: &str) -> String {
        let read = async {
            loop {
                if let Some(at) = self.seen.windows(part.len()).position(|w| w == part.as_bytes()) {
                    let text: Vec<u8> = self.seen.drain(..at + part.len()).collect();
                    return String::from_utf8_lossy(&text).into_owned();
                }
                let n = self.tcp.read_buf(&mut self.seen).await.expect("reads");
                assert!(n > 0, "the end came before {part:?}: {}", String::from_utf8_lossy(&self.seen));
            }
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("{part:?} did not come"))
    }

    async fn rest(&mut self) -> String {
        let all = self.tcp.read_to_end(&mut self.seen);
        tokio::time::timeout(PATIENCE, all).await.expect("in time").expect("reads");
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

#[tokio::test]
async fn a_web_socket_begins_after_other_requests_on_its_connection() {
    let running = Running::start(&[]).await;
    let mut client = running.connect().await;
    client.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(client.until("\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    // A ping right behind the handshake belongs to the WebSocket.
    let mut bytes = running.upgrade("?since=0").into_bytes();
    bytes.extend_from_slice(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']);
    client.send(&bytes).await;
    let head = client.until("\r\n\r\n").await;
    assert!(head.contains("HTTP/1.1 101"), "{head}");
    assert!(
        head.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{head}"
    );
    client.until("\"type\":\"stream.open\"").await;
    client.until("\u{2}hi").await;
    running.published().await;
    client.until("\"type\":\"note.created\"").await;
    drop(client);
    running.end().await;
}

#[tokio::test]
async fn sse_is_chunked_and_ends_properly() {
    let running = Running::start(&[]).await;
    let mut client = running.connect().await;
    client.send(running.sse("1.1", "")).await;
    let head = client.until("\r\n\r\n").await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    for field in [
        "content-type: text/event-stream",
        "transfer-encoding: chunked",
        "cache-control: no-store",
        "x-request-id: ",
    ] {
        assert!(head.contains(field), "{field} is not in {head}");
    }
    client.until("event: stream.open\n").await;
    running.published().await;
    let record = client.until("event: note.created\n").await;
    assert!(record.contains("\nid: "), "{record}");
    running.server.app().delivery().close_where(|_| true, tidings_delivery::CloseReason::revoked());
    let rest = client.rest().await;
    assert!(rest.contains("event: stream.closing") && rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
    drop(client);
    running.end().await;
}

#[tokio::test]
async fn an_old_client_gets_a_stream_that_ends_with_its_connection() {
    let running = Running::start(&[]).await;
    let mut client = running.connect().await;
    client.send(running.sse("1.0", "")).await;
    let head = client.until("\r\n\r\n").await.to_ascii_lowercase();
    assert!(!head.contains("transfer-encoding"), "{head}");
    let first = client.until("\n").await;
    assert_eq!(first, "retry: 2000\n");
    running.published().await;
    client.until("event: note.created\n").await;
    drop(client);
    running.end().await;
}

#[tokio::test]
async fn a_stream_is_refused_before_it_begins() {
    let running = Running::start(&["limits.connections=2"]).await;
    let auth = running.auth();
    let cases = [
        (format!("GET /api/v1/ws HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n"), 401, "unauthorized"),
        (format!("GET /api/v1/ws HTTP/1.1\r\n{auth}\r\n"), 400, "bad-upgrade"),
        (running.upgrade("?since=-1"), 400, "bad-cursor"),
        (running.upgrade("?types=a*b"), 400, "bad-filter"),
        (running.upgrade("?colour=red"), 400, "bad-parameter"),
        (running.upgrade("?verbosity=debug"), 403, "forbidden"),
        (running.sse("1.1", "Last-Event-ID: 9223372036854775808\r\n"), 400, "bad-cursor"),
    ];
    for (request, status, slug) in cases {
        let mut client = running.connect().await;
        client.send(&request).await;
        let answer = client.until("\"}").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}{answer}");
        assert!(answer.contains(&format!("urn:tidings:problem:{slug}")), "{request}{answer}");
    }
    let mut first = running.connect().await;
    first.send(running.upgrade("")).await;
    first.until("stream.open").await;
    let mut second = running.connect().await;
    second.send(running.sse("1.1", "")).await;
    second.until("stream.open").await;
    let mut third = running.connect().await;
    third.send(running.upgrade("")).await;
    let answer = third.until("\"}").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("too-many-connections"), "{answer}");
    assert!(answer.contains("\"limit\":\"limits.connections\""), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("retry-after: "), "{answer}");
    drop(second);
    // The place is free once the server has seen the client go.
    tokio::time::timeout(PATIENCE, async {
        loop {
            let mut next = running.connect().await;
            next.send(running.upgrade("")).await;
            if next.until("\r\n\r\n").await.starts_with("HTTP/1.1 101") {
                break;
            }
        }
    })
    .await
    .expect("a place is free again");
    drop(first);
    running.end().await;
}

#[tokio::test]
async fn a_ticket_is_not_spent_on_a_server_that_is_full() {
    ticket_is_kept_for("/api/v1/ws").await;
    ticket_is_kept_for("/api/v1/echo").await;
}

async fn ticket_is_kept_for(path: &str) {
    let running = Running::start(&["limits.connections=1", "server.debug_echo=true"]).await;
    let mut client = running.connect().await;
    client
        .send(format!("POST /api/v1/tickets HTTP/1.1\r\n{}Content-Length: 0\r\n\r\n", running.auth()))
        .await;
    client.until("\"ticket\":\"").await;
    let ticket = client.until("\"").await;
    let ticket = ticket.trim_end_matches('"');
    let upgrade = format!("GET {path}?ticket={ticket} HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n");
    let mut first = running.connect().await;
    first.send(running.upgrade("")).await;
    first.until("stream.open").await;
    let ask = async || {
        let mut client = running.connect().await;
        client.send(&upgrade).await;
        client.until("\r\n\r\n").await
    };
    assert!(ask().await.starts_with("HTTP/1.1 503"));
    drop(first);
    let taken = async {
        loop {
            let answer = ask().await;
            if !answer.starts_with("HTTP/1.1 503") {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, taken).await.expect("the place is free");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    running.end().await;
}

#[tokio::test]
async fn a_stopping_server_sends_streams_away_and_closes_idle_connections() {
    let running = Running::start(&["drain.timeout=10s"]).await;
    let mut stream = running.connect().await;
    stream.send(running.upgrade("")).await;
    stream.until("stream.open").await;
    let mut idle = running.connect().await;
    idle.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    idle.until("\r\n\r\n").await;
    let folder = running.folder.clone();
    let server = Arc::new(running.server);
    let stop = tokio::spawn({
        let server = server.clone();
        async move { server.stop().await }
    });
    stream.until("\"code\":1012").await;
    stream.rest().await;
    drop(stream);
    idle.rest().await;
    stop.await.expect("stops");
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}

#[tokio::test]
async fn a_stopping_server_gives_notice_also_where_nobody_is_connected() {
    let running = Running::start(&["drain.timeout=10s", "drain.notice=3s"]).await;
    let began = std::time::Instant::now();
    let stop = async {
        running.server.stop().await;
        began.elapsed()
    };
    let asks = async {
        let answer_of = async |request: String, until: &str| {
            let mut client = running.connect().await;
            client.send(request).await;
            client.until(until).await
        };
        let ready = || format!("GET /health/ready HTTP/1.1\r\n{}\r\n", running.auth());
        while !answer_of(ready(), "}").await.contains("\"draining\"") {}
        for stream in [running.upgrade(""), running.sse("1.1", "")] {
            let answer = answer_of(stream, "\"}").await;
            assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("problem:draining"), "{answer}");
            assert!(answer.to_ascii_lowercase().contains("retry-after: "), "{answer}");
        }
        let answer = answer_of(running.publish(), "\"seq\":").await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    };
    let (took, ()) = tokio::join!(stop, asks);
    assert!(took >= Duration::from_secs(3), "{took:?}");
    std::fs::remove_dir_all(&running.folder).expect("the folder can go");
}

#[tokio::test]
async fn a_stopping_server_does_not_wait_for_half_a_request() {
    let running = Running::start(&["limits.header_timeout=5m", "drain.timeout=5m"]).await;
    let mut fresh = running.connect().await;
    let mut half = running.connect().await;
    half.send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
    half.until("\r\n\r\n").await;
    half.send("GET /health/live HTTP/1.1\r\nHo").await;
    tokio::time::timeout(PATIENCE, running.end()).await.expect("stops");
    assert!(!fresh.rest().await.contains("HTTP"));
    assert!(!half.rest().await.contains("HTTP"));
}

#[tokio::test]
async fn a_full_listener_is_counted_and_takes_the_next_when_it_can() {
    let running = Running::start(&[]).await;
    let app = running.server.app();
    let any = "127.0.0.1:0".parse().expect("an address");
    let socket = BoundSocket::bind(any, Owner::Process, ListenerConfig::default()).expect("binds");
    let address = socket.local_addr().expect("bound");
    let mut config = Config::clone(&app.settings().get());
    config.limits.listener_connections = 1;
    let (settings, metrics, stop) = (Settings::new(config), app.metrics().clone(), Stop::default());
    let listener = socket.listen().expect("listens");
    let serving =
        tokio::spawn(listener.run(app.router(), app.delivery().clone(), settings, metrics, stop.clone()));
    let ask = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut first = Client::to(address).await;
    first.send(ask).await;
    first.until("}").await;
    let mut second = Client::to(address).await;
    second.send(ask).await;
    let counted = async {
        while !app.scrape().contains("listener_full_total{listener=\"http\"} 1\n") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("it is counted");
    drop(first);
    second.until("}").await;
    drop(second);
    stop.closing.cancel();
    serving.await.expect("ends");
    running.end().await;
}

#[tokio::test]
async fn a_reload_reaches_live_connections() {
    let file = folder().with_extension("toml");
    let write = |frame_bytes: u32, heartbeat: &str| {
        let text = format!("[limits]\nframe_bytes = {frame_bytes}\n[live]\nheartbeat = \"{heartbeat}\"\n");
        std::fs::write(&file, text).expect("writes");
    };
    write(65_536, "50m");
    let running = Running::start_by(Some(file.clone()), &[]).await;
    let mut old = running.connect().await;
    old.send(running.upgrade("")).await;
    old.until("\"heartbeat_s\":3000").await;
    write(1_024, "40m");
    running.server.reload().expect("reloads");
    let mut new = running.connect().await;
    new.send(running.upgrade("")).await;
    new.until("\"heartbeat_s\":2400").await;
    // A frame of 2,000 bytes, masked with zeros.
    old.send([&[0x81, 0xFE, 0x07, 0xD0, 0, 0, 0, 0], &[b' '; 2_000][..]].concat()).await;
    old.until("\"code\":1009").await;
    drop((old, new));
    running.end().await;
    std::fs::remove_file(&file).expect("it can go");
}

#[tokio::test]
async fn a_stream_that_is_being_opened_does_not_outlive_a_suspension() {
    let running = Running::start(&[]).await;
    running.published().await;
    let app = running.server.app();
    let request = http::Request::builder()
        .uri("/api/v1/ws")
        .header("authorization", format!("Bearer {}", running.key))
        .header("x-tidings-tenant", "acme");
    let (mut parts, ()) = request.body(()).expect("a request").into_parts();
    let asking = Asking::from_request_parts(&mut parts, app).await.expect("it may");
    let admin = TenantAdmin::from_ref(app);
    admin.suspend(&TenantId::new("acme").expect("valid")).await.expect("suspends");
    let wanted = asking.read(None).expect("reads");
    let refused = wanted.connect(&Desk::from_ref(app), Protocol::WebSocket).await;
    assert_eq!(refused.expect_err("must not open").kind(), Kind::TenantSuspended);
    running.end().await;
}

#[tokio::test]
async fn a_mounted_router_takes_the_generic_path() {
    let running = Running::start(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let outer = axum::Router::new().nest("/tidings", running.server.app().router());
    let host = tokio::spawn(async move { axum::serve(listener, outer).await });
    let mut socket = Client::to(address).await;
    socket.send(running.upgrade("").replace("/api/v1", "/tidings/api/v1")).await;
    socket.until("\"type\":\"stream.open\"").await;
    let mut sse = Client::to(address).await;
    sse.send(running.sse("1.1", "").replace("/api/v1", "/tidings/api/v1")).await;
    sse.until("event: stream.open").await;
    running.published().await;
    socket.until("\"type\":\"note.created\"").await;
    sse.until("event: note.created").await;
    running.server.app().delivery().close_where(|_| true, tidings_delivery::CloseReason::revoked());
    socket.until("\"code\":4401").await;
    assert!(sse.until("0\r\n\r\n").await.contains("stream.closing"));
    host.abort();
    drop((socket, sse));
    running.end().await;
}

#[tokio::test]
async fn a_late_answer_to_a_refused_body_arrives() {
    let running = Running::start(&["limits.body_bytes=70000"]).await;
    let mut client = running.connect().await;
    let auth = running.auth();
    let head = format!(
        "POST /api/v1/events HTTP/1.1\r\n{auth}Content-Type: application/json\r\nContent-Length: 200000\r\n\r\n"
    );
    client.send(head).await;
    client.send(vec![b' '; 200_000]).await;
    let answer = client.until("\"}").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    running.end().await;
}

#[test]
fn a_stream_words_its_problems_as_http_does() {
    for problem in PROBLEMS {
        let kind = Kind::ALL.iter().find(|kind| kind.uri() == problem.uri).expect(problem.uri);
        assert_eq!((kind.title(), kind.status().as_u16()), (problem.title, problem.status));
    }
}
