//! How many live connections a user and a tenant may have, on one node and on several.

use axum::{body::Body, extract::Request, response::Response};
use serde_json::json;
use tidings_testkit::Redis;

use crate::{
    cluster::{Settings, until},
    site::{Answer, As, Site},
};

/// Asks for a stream; it lives until the answer is dropped.
async fn stream(site: &Site, who: &As) -> Response {
    let request = Request::get("/api/v1/events")
        .header("authorization", format!("Bearer {}", who.token()))
        .header("accept", "text/event-stream");
    site.raw(request.body(Body::empty()).expect("a request")).await
}

async fn open(site: &Site, who: &As) -> Response {
    let response = stream(site, who).await;
    if response.status() == 200 { response } else { panic!("{:?}", Answer::of(response).await) }
}

/// The key that the refusal names.
fn limited(answer: &Answer) -> String {
    assert_eq!(answer.problem(429), "connections-limited");
    assert_eq!(answer.headers["retry-after"], "10");
    answer.json()["limit"].as_str().expect("a key").to_owned()
}

async fn refused(site: &Site, who: &As) -> String {
    limited(&Answer::of(stream(site, who).await).await)
}

#[tokio::test]
async fn a_sixth_connection_of_one_user_is_refused_at_the_upgrade_and_at_minting() {
    let site = Site::open().await;
    let ana = site.key("acme", Some("ana"), "events:read").await;
    let ben = site.key("acme", Some("ben"), "events:read").await;
    let backend = site.key("acme", None, "events:read").await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        site.act("/api/v1/tickets", &ana).await.ok(201);
        streams.push(open(&site, &ana).await);
    }
    assert_eq!(refused(&site, &ana).await, "limits.connections_per_user");
    let metrics = site.app.scrape();
    assert!(metrics.contains("sse_connections_rejected_total{reason=\"user_limit\"} 1\n"), "{metrics}");
    assert_eq!(limited(&site.act("/api/v1/tickets", &ana).await), "limits.connections_per_user");
    // A ticket is of the user that it names.
    let named = json!({"user": "ana"});
    assert_eq!(limited(&site.post("/api/v1/tickets", &backend, &named).await), "limits.connections_per_user");
    site.act("/api/v1/tickets", &backend).await.ok(201);
    for _ in 0..7 {
        streams.push(open(&site, &backend).await);
    }
    streams.push(open(&site, &ben).await);
    // A question that needs no connection takes no place.
    site.get("/api/v1/events", &ana).await.ok(200);
    streams.remove(0);
    until("a free place", async || stream(&site, &ana).await.status() == 200).await;
    drop(streams);
    site.close().await;
}

#[tokio::test]
async fn a_tenant_can_be_limited_whoever_its_users_are() {
    let site = Site::with(&["limits.connections_per_tenant=3", "limits.connections_per_user=2"]).await;
    let ana = site.key("acme", Some("ana"), "events:read").await;
    let backend = site.key("acme", None, "events:read").await;
    let other = site.key("other", None, "events:read").await;
    let _streams = [open(&site, &ana).await, open(&site, &backend).await, open(&site, &backend).await];
    assert_eq!(refused(&site, &ana).await, "limits.connections_per_tenant");
    assert_eq!(refused(&site, &backend).await, "limits.connections_per_tenant");
    let _other = open(&site, &other).await;
    site.app.stop(std::time::Duration::from_secs(5)).await;
}

async fn count_over_two(settings: &Settings) {
    let one = Site::with(&settings.list()).await;
    let two = one.beside(&settings.list()).await;
    let ana = one.key("acme", Some("ana"), "events:read").await;
    let mut streams = Vec::new();
    for site in [&one, &two, &one, &two, &one] {
        streams.push(open(site, &ana).await);
    }
    for site in [&one, &two] {
        assert_eq!(refused(site, &ana).await, "limits.connections_per_user");
        assert_eq!(limited(&site.act("/api/v1/tickets", &ana).await), "limits.connections_per_user");
    }
    streams.remove(0);
    until("node two hears of the free place", async || stream(&two, &ana).await.status() == 200).await;
    drop(streams);
    one.close().await;
    // What a stopped node had is free at once.
    let all: Vec<_> = [open(&two, &ana).await, open(&two, &ana).await].into();
    drop(all);
    two.close().await;
}

#[tokio::test]
async fn nodes_count_together_in_the_store() {
    count_over_two(&Settings::fresh()).await;
}

#[tokio::test]
async fn nodes_count_together_in_redis_and_alone_without_it() {
    let redis = Redis::start();
    let named = format!("server.redis={}", redis.url());
    count_over_two(&Settings::fresh().and(&named)).await;
    let settings = Settings::fresh().and(&named);
    let site = Site::with(&settings.list()).await;
    let ana = site.key("acme", Some("ana"), "events:read").await;
    let mut streams = vec![open(&site, &ana).await];
    redis.kill9();
    for _ in 0..4 {
        streams.push(open(&site, &ana).await);
    }
    assert_eq!(refused(&site, &ana).await, "limits.connections_per_user");
    site.close().await;
}
