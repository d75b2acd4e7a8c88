//! A server without a free file descriptor: who is there is served, who comes waits.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    process::{Command, Stdio},
};

use tidings_server::Server;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    cluster::until,
    site::{PATIENCE, configured, folder},
};

const SERVES_IN: &str = "TIDINGS_TEST_SERVES_IN";
const DESCRIPTORS: u32 = 96;

/// Sends on a connection that stays open, and reads the one answer.
async fn ask(tcp: &mut TcpStream, request: &str) -> String {
    tcp.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if length.is_some_and(|length| body.len() >= length.trim().parse().expect("a length")) {
                return text.into_owned();
            }
        }
        let read = tokio::time::timeout(PATIENCE, tcp.read_buf(&mut answer)).await;
        assert!(read.expect("in time").expect("reads") > 0, "it ended with {answer:?}");
    }
}

/// The server's life in a process of its own: until its input ends.
async fn serve(folder: &std::path::Path) {
    let settings =
        ["limits.connections_per_ip=off", "limits.upgrades_per_ip=off", "limits.header_timeout=1m"];
    let server = Server::start(configured(folder, &settings)).await.expect("starts");
    println!("\nserving {} {}", server.address(), server.ops_address().expect("on"));
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    ended.await.expect("no panic").expect("reads");
    server.stop().await;
}

#[tokio::test]
async fn without_a_descriptor_accepting_pauses_and_those_who_are_there_live_on() {
    if let Some(folder) = std::env::var_os(SERVES_IN) {
        return serve(folder.as_ref()).await;
    }
    let folder = folder();
    let name = "descriptors::without_a_descriptor_accepting_pauses_and_those_who_are_there_live_on";
    let mut child = Command::new("sh")
        .args(["-c", &format!("ulimit -n {DESCRIPTORS} && exec \"$0\" --exact {name} --nocapture")])
        .arg(std::env::current_exe().expect("this program"))
        .env(SERVES_IN, &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let serving = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("serving ").map(str::to_owned));
    let serving = serving.expect("it says where it serves");
    let (api, ops) = serving.split_once(' ').expect("two addresses");
    let [api, ops] = [api, ops].map(|address| address.parse::<SocketAddr>().expect("an address"));
    let key = std::fs::read_to_string(folder.join("admin.key")).expect("the key's file");
    let who = format!("Host: x\r\nAuthorization: Bearer {}\r\nX-Tidings-Tenant: acme\r\n", key.trim());

    // Who is there before.
    let mut stream = TcpStream::connect(api).await.expect("connects");
    let request = format!("GET /api/v1/events HTTP/1.1\r\n{who}Accept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut publisher = TcpStream::connect(api).await.expect("connects");
    let mut operator = TcpStream::connect(ops).await.expect("connects");
    let publish = format!(
        "POST /api/v1/events HTTP/1.1\r\n{who}Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{{\"type\":\"a.b\"}}"
    );
    assert!(ask(&mut publisher, &publish).await.starts_with("HTTP/1.1 201"));
    let scrape = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    assert!(ask(&mut operator, scrape).await.contains("listener_accept_paused 0\n"));

    let mut flood = Vec::new();
    for _ in 0..2 * DESCRIPTORS {
        flood.push(TcpStream::connect(api).await.expect("the kernel takes it"));
    }
    until("accepting has paused", async || {
        ask(&mut operator, scrape).await.contains("listener_accept_paused 1\n")
    })
    .await;
    for _ in 0..20 {
        assert!(ask(&mut publisher, &publish).await.starts_with("HTTP/1.1 201"));
    }
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("\"seq\":21,") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut seen)).await;
        assert!(read.expect("in time").expect("reads") > 0, "the stream ended");
    }
    drop(flood);
    until("a newcomer is served", async || {
        let mut tcp = TcpStream::connect(api).await.expect("connects");
        ask(&mut tcp, "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 200")
    })
    .await;
    assert!(ask(&mut operator, scrape).await.contains("listener_accept_paused 0\n"));
    drop(child.stdin.take());
    assert!(child.wait().expect("ends").success());
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}
