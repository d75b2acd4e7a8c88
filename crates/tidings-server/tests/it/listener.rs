//! The places of a listener: what fills them, and who is answered all the same.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    cluster::until,
    site::{PATIENCE, Site, configured},
};

/// Sends, and says nothing more.
async fn begin(address: SocketAddr, request: &str) -> TcpStream {
    let mut tcp = TcpStream::connect(address).await.expect("connects");
    tcp.write_all(request.as_bytes()).await.expect("sends");
    tcp
}

/// On a connection of its own, which ends with the answer.
async fn ask(address: SocketAddr, request: &str) -> String {
    let mut tcp = begin(address, request).await;
    let mut answer = String::new();
    let read = tokio::time::timeout(PATIENCE, tcp.read_to_string(&mut answer)).await;
    read.unwrap_or_else(|_| panic!("no answer to {request}")).expect("reads");
    answer
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n")
}

#[tokio::test]
async fn a_listener_without_connections_has_none_from_the_start() {
    let (site, server) = Site::listening(&[]).await;
    let scraped = site.app.scrape();
    for listener in ["http", "ops"] {
        for line in [
            format!("listener_connections{{listener=\"{listener}\"}} 0\n"),
            format!("listener_connections_max{{listener=\"{listener}\"}} 4096\n"),
            format!("listener_full_total{{listener=\"{listener}\"}} 0\n"),
        ] {
            assert!(scraped.contains(&line), "{line} is not in {scraped}");
        }
    }
    let folder = site.folder().to_owned();
    server.stop().await;
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}

#[tokio::test]
async fn long_polls_and_slow_bodies_of_a_trusted_proxy_leave_places_for_health_and_for_refusals() {
    let settings = [
        "server.trusted_proxies=127.0.0.0/8",
        "limits.requests_in_flight=12",
        "limits.listener_connections=16",
        "limits.header_timeout=1m",
    ];
    let (site, server) = Site::listening(&settings).await;
    let (address, who) = (server.address(), site.operator("acme"));
    let auth = format!("Authorization: Bearer {}\r\nX-Tidings-Tenant: acme\r\n", who.token());
    let poll = r#"{"worker":"w","types":["never"],"wait_s":60}"#;
    let post = |path: &str, length: usize| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\n{auth}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut held = Vec::new();
    for n in 0..12 {
        let request = match n % 2 {
            0 => post("/api/v1/leases", poll.len()) + poll,
            _ => post("/api/v1/events", 1_000) + "{",
        };
        held.push(begin(address, &request).await);
    }
    until("all are being answered", async || site.app.scrape().contains("http_requests_in_flight 12\n"))
        .await;
    for _ in 0..10 {
        for path in ["/health/live", "/health/ready", "/health"] {
            let answer = ask(address, &get(path, "")).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        }
        let refused = ask(address, &get("/api/v1/events?limit=1", &auth)).await;
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
        assert!(
            refused.contains("problem:busy") && refused.contains("\"limits.requests_in_flight\""),
            "{refused}"
        );
    }
    drop(held);
    until("there is room again", async || {
        ask(address, &get("/api/v1/events?limit=1", &auth)).await.starts_with("HTTP/1.1 200 ")
    })
    .await;
    let folder = site.folder().to_owned();
    server.stop().await;
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}

#[tokio::test]
async fn more_places_by_a_reload_let_in_those_who_wait() {
    let settings = |places: u32| {
        [
            format!("limits.listener_connections={places}"),
            "limits.requests_in_flight=2".to_owned(),
            "limits.header_timeout=1m".to_owned(),
        ]
    };
    let three = settings(3);
    let (site, server) = Site::listening(&three.each_ref().map(String::as_str)).await;
    let silent = [
        begin(server.address(), "").await,
        begin(server.address(), "").await,
        begin(server.address(), "").await,
    ];
    let line = |text: &'static str| {
        let app = site.app.clone();
        async move || app.scrape().contains(text)
    };
    until("it is full", line("listener_connections{listener=\"http\"} 3\n")).await;
    let waits = tokio::spawn(ask_owned(server.address(), get("/health/live", "")));
    until("somebody waits", line("listener_full_total{listener=\"http\"} 1\n")).await;
    let four = settings(4);
    let loaded = configured(site.folder(), &four.each_ref().map(String::as_str));
    site.app.reload(&loaded).expect("reloads");
    assert!(waits.await.expect("no panic").starts_with("HTTP/1.1 200 "));
    assert!(site.app.scrape().contains("listener_connections_max{listener=\"http\"} 4\n"));
    drop(silent);
    let folder = site.folder().to_owned();
    server.stop().await;
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}

async fn ask_owned(address: SocketAddr, request: String) -> String {
    ask(address, &request).await
}
