use serde_json::json;
use tidings_server::{
    Server, StartError,
    config::{Loaded, Sources},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::site::{Site, configured, folder};

pub(crate) async fn fetch(address: std::net::SocketAddr, request: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.expect("connects");
    tcp.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.expect("reads");
    answer
}

#[tokio::test]
async fn a_server_starts_serves_stops_and_starts_again_on_its_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let server = Server::start(configured(&folder, &[])).await.expect("starts");
    let admin_file = server.new_admin_key().expect("a first start makes the key");
    assert_eq!(std::fs::metadata(&admin_file).expect("there").permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(&admin_file).expect("reads").trim().to_owned();
    let body = r#"{"type":"a"}"#;
    let publish = format!(
        "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         X-Tidings-Tenant: acme\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = fetch(server.address(), &publish).await;
    assert!(answer.starts_with("HTTP/1.1 201") && answer.contains("\"seq\":1"), "{answer}");
    let ops = server.ops_address().expect("on");
    let metrics = fetch(ops, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(metrics.contains("events_published_total 1"), "{metrics}");
    let locked = Server::start(configured(&folder, &[])).await.expect_err("the folder is taken");
    assert!(matches!(locked, StartError::Store(_)), "{locked:?}");
    server.stop().await;

    let server = Server::start(configured(&folder, &[])).await.expect("starts again");
    assert_eq!(server.new_admin_key(), None);
    let answer = fetch(server.address(), &publish).await;
    assert!(answer.contains("\"seq\":2"), "{answer}");
    server.stop().await;
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}

#[tokio::test]
async fn connections_of_a_listener_and_heads_that_came_too_late_are_counted() {
    let folder = folder();
    let server = Server::start(configured(&folder, &["limits.header_timeout=300ms"])).await.expect("starts");
    let until_closed = async |request: &'static str| fetch(server.address(), request).await;
    // One that has been answered and asks nothing more is not late.
    let (idle, half) = tokio::join!(
        until_closed("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"),
        until_closed("GET /health/live HTTP/1.1\r\nHo"),
    );
    assert!(idle.starts_with("HTTP/1.1 200"), "{idle}");
    assert_eq!(half, "");
    let ops = server.ops_address().expect("on");
    let scraped = fetch(ops, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    for line in [
        "http_requests_limited_total{limit=\"limits.header_timeout\"} 1\n",
        "listener_connections{listener=\"ops\"} 1\n",
        "listener_connections_max{listener=\"http\"} 4096\n",
        "live_connections_max 1000\n",
    ] {
        assert!(scraped.contains(line), "{line} is not in {scraped}");
    }
    server.stop().await;
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}

#[tokio::test]
async fn a_reload_takes_over_limits_and_a_failed_one_changes_nothing() {
    let folder = folder();
    std::fs::create_dir_all(&folder).expect("makes a folder");
    let file = folder.join("tidings.toml");
    let text = |limits: &str| {
        let data = folder.join("data");
        format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nops_listen = \"off\"\ndata = {data:?}\n[limits]\n{limits}\n"
        )
    };
    std::fs::write(&file, text("batch_items = 5")).expect("writes");
    let loaded = Loaded::load(Sources { file: Some(file.clone()), ..Sources::default() }).expect("loads");
    let server = Server::start(loaded).await.expect("starts");
    let items = || server.app().settings().get().limits.batch_items;
    assert_eq!(items(), 5);
    let drain = "[drain]\ntimeout = \"9s\"\n[retention]\nevents_per_tenant = 77";
    std::fs::write(&file, text(&format!("batch_items = 7\n{drain}"))).expect("writes");
    server.reload().expect("reloads");
    assert_eq!(items(), 7);
    let settings = server.app().settings().get().clone();
    assert_eq!(settings.drain.timeout.0.as_secs(), 9);
    assert_eq!(settings.retention.events_per_tenant.0, Some(77));
    for bad in ["batch_items = 0", "batch_items = \"many\"", "nonsense = 1", "["] {
        std::fs::write(&file, text(bad)).expect("writes");
        server.reload().expect_err("must not reload");
        assert_eq!(items(), 7, "{bad}");
    }
    server.stop().await;
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}

#[tokio::test]
async fn what_was_accepted_before_the_end_is_there_after_it() {
    let site = Site::with(&["jobs.progress_rate=1/m"]).await;
    let who = site.operator("acme");
    site.enqueue(&who, json!({"type": "a"})).await;
    let lease = site.lease(&who, "a").await;
    let path = format!("/api/v1/leases/{lease}/progress");
    site.post(&path, &who, &json!({"percent": 1})).await.ok(200);
    site.post(&path, &who, &json!({"percent": 2})).await.ok(202);
    let site = site.restart().await;
    let page = site.get("/api/v1/events?types=job.progress", &who).await.ok(200);
    let told: Vec<_> =
        page["events"].as_array().expect("events").iter().map(|e| e["data"]["percent"].clone()).collect();
    assert_eq!(told, [1, 2], "what waited was written");
    site.act(&format!("/api/v1/leases/{lease}/complete"), &who).await.ok(200);
    site.close().await;
}
