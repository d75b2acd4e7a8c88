//! How much a tenant and a credential may ask for in a time: each limit bites exactly where it is set, and what was spent
//! is back exactly when it should be.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, response::Response};
use futures_util::FutureExt as _;
use http::Method;
use serde_json::{Value, json};
use tidings_auth::{ServerKeys, TokenRequest};
use tidings_core::SystemEntropy;

use crate::{
    cluster::until,
    site::{Answer, As, PATIENCE, ShiftedClock, Site, configured, folder},
};

/// A server whose clock stands still until the test sets it forward: nothing comes back by itself.
async fn site(settings: &[&str]) -> (Site, ShiftedClock) {
    let clock = ShiftedClock::still();
    (Site::on(folder(), settings, Arc::new(clock.clone())).await, clock)
}

fn events(count: usize) -> Value {
    (0..count).map(|n| json!({"type": "a.b", "data": n})).collect()
}

async fn publish(site: &Site, who: &As, count: usize) -> Answer {
    site.post("/api/v1/events", who, &events(count)).await
}

async fn enqueue(site: &Site, who: &As, count: usize) -> Answer {
    let jobs: Value = (0..count).map(|_| json!({"type": "a"})).collect();
    site.post("/api/v1/jobs", who, &jobs).await
}

async fn read(site: &Site, who: &As) -> Answer {
    site.get("/api/v1/events?limit=1", who).await
}

/// The refusal of this limit, with its wait in seconds.
#[track_caller]
fn refused(answer: &Answer, key: &str, wait: u64) {
    assert_eq!(answer.problem(429), "rate-limited");
    assert_eq!(answer.json()["limit"], key, "{:?}", answer.body);
    assert_eq!(answer.headers["retry-after"], wait.to_string().as_str(), "{key}");
}

/// What `RateLimit` says of a policy.
#[track_caller]
fn left(answer: &Answer, policy: &str) -> String {
    let text = answer.headers["ratelimit"].to_str().expect("text");
    let item = text.split(", ").find_map(|item| item.strip_prefix(&format!("\"{policy}\";")));
    item.unwrap_or_else(|| panic!("no {policy} in {text}")).to_owned()
}

#[tokio::test]
async fn a_tenants_requests_bite_at_the_burst_and_are_back_one_by_one() {
    let (site, clock) = site(&["limits.requests_per_tenant=10/s", "limits.requests_per_key=off"]).await;
    let one = site.key("acme", None, "events:read").await;
    let two = site.key("acme", Some("ana"), "events:read").await;
    let other = site.key("other", None, "events:read").await;
    // Making the two keys was two requests of the tenant.
    clock.forward(Duration::from_secs(2));
    for n in 0..20 {
        let answer = read(&site, if n % 2 == 0 { &one } else { &two }).await;
        answer.ok(200);
        assert_eq!(left(&answer, "requests_per_tenant"), format!("r={};t={}", 19 - n, n / 10 + 1));
        assert_eq!(answer.headers["ratelimit-policy"], "\"requests_per_tenant\";q=20;w=2");
    }
    for who in [&one, &two, &site.operator("acme")] {
        let answer = read(&site, who).await;
        refused(&answer, "limits.requests_per_tenant", 1);
        assert_eq!(left(&answer, "requests_per_tenant"), "r=0;t=1");
    }
    read(&site, &other).await.ok(200);
    assert!(!site.get("/health", &one).await.headers.contains_key("ratelimit"), "health is not counted");
    clock.forward(Duration::from_micros(99_999));
    refused(&read(&site, &one).await, "limits.requests_per_tenant", 1);
    clock.forward(Duration::from_micros(1));
    read(&site, &one).await.ok(200);
    refused(&read(&site, &two).await, "limits.requests_per_tenant", 1);
    clock.forward(Duration::from_secs(2));
    for _ in 0..20 {
        read(&site, &two).await.ok(200);
    }
    refused(&read(&site, &two).await, "limits.requests_per_tenant", 1);
    let metrics = site.app.scrape();
    let counted = "http_requests_limited_total{limit=\"limits.requests_per_tenant\"} 6\n";
    assert!(metrics.contains(counted), "{metrics}");
    site.close().await;
}

#[tokio::test]
async fn a_key_has_its_own_and_takes_nothing_of_the_tenants_when_it_is_refused() {
    let (site, clock) = site(&["limits.requests_per_tenant=5/s", "limits.requests_per_key=2/s"]).await;
    let one = site.key("acme", None, "events:read").await;
    let two = site.key("acme", None, "events:read").await;
    clock.forward(Duration::from_secs(2));
    for n in 0..4 {
        let answer = read(&site, &one).await;
        answer.ok(200);
        assert_eq!(left(&answer, "requests_per_key"), format!("r={};t={}", 3 - n, n / 2 + 1));
    }
    for _ in 0..30 {
        refused(&read(&site, &one).await, "limits.requests_per_key", 1);
    }
    for _ in 0..4 {
        read(&site, &two).await.ok(200);
    }
    for _ in 0..2 {
        read(&site, &site.operator("acme")).await.ok(200);
    }
    refused(&read(&site, &site.operator("acme")).await, "limits.requests_per_tenant", 1);
    site.close().await;
}

#[tokio::test]
async fn events_and_jobs_are_counted_one_by_one_and_a_batch_passes_whole_or_not_at_all() {
    let (site, clock) = site(&[
        "limits.publishes_per_tenant=10/s",
        "limits.publishes_per_key=5/s",
        "limits.enqueues_per_tenant=4/s",
        "limits.enqueues_per_key=off",
    ])
    .await;
    let one = site.key("acme", None, "events:read events:publish jobs:write").await;
    let two = site.key("acme", None, "events:read events:publish jobs:write").await;
    let other = site.key("other", None, "events:read events:publish jobs:write").await;
    publish(&site, &one, 7).await.ok(201);
    let answer = publish(&site, &one, 4).await;
    refused(&answer, "limits.publishes_per_key", 1);
    let answer = publish(&site, &one, 3).await;
    answer.ok(201);
    assert_eq!(left(&answer, "publishes_per_key"), "r=0;t=2");
    assert_eq!(left(&answer, "publishes_per_tenant"), "r=10;t=1");
    publish(&site, &two, 10).await.ok(201);
    refused(&publish(&site, &two, 1).await, "limits.publishes_per_tenant", 1);
    assert_eq!(read(&site, &one).await.ok(200)["head"], 20, "what was refused was not done");
    publish(&site, &other, 10).await.ok(201);
    // Jobs are counted for themselves, however they come.
    enqueue(&site, &one, 7).await.ok(201);
    site.post("/api/v1/jobs", &two, &json!({"type": "b"})).await.ok(201);
    refused(&enqueue(&site, &two, 1).await, "limits.enqueues_per_tenant", 1);
    let id = site.get("/api/v1/jobs?type=b", &site.operator("acme")).await.ok(200)["jobs"][0]["id"].clone();
    let path = |what: &str| format!("/api/v1/jobs/{}/{what}", id.as_str().expect("an id"));
    site.act(&path("cancel"), &two).await.ok(200);
    refused(&site.act(&path("retry"), &two).await, "limits.enqueues_per_tenant", 1);
    let leased = json!({"worker": "w", "job": {"type": "c"}});
    let operator = site.operator("acme");
    refused(&site.post("/api/v1/leases", &operator, &leased).await, "limits.enqueues_per_tenant", 1);
    clock.forward(Duration::from_millis(250));
    site.act(&path("retry"), &two).await.ok(201);
    // More than there ever is at once: when all of it is there, and paid for afterwards.
    refused(&enqueue(&site, &one, 16).await, "limits.enqueues_per_tenant", 1);
    clock.forward(Duration::from_millis(250));
    refused(&enqueue(&site, &one, 16).await, "limits.enqueues_per_tenant", 2);
    clock.forward(Duration::from_millis(1_750));
    enqueue(&site, &one, 16).await.ok(201);
    refused(&enqueue(&site, &one, 1).await, "limits.enqueues_per_tenant", 3);
    site.close().await;
}

#[tokio::test]
async fn bytes_are_counted_before_the_body_is_read_or_as_they_came() {
    let (site, clock) = site(&["limits.bytes_per_tenant=1000/s", "limits.bytes_per_key=off"]).await;
    let who = site.key("acme", None, "events:read events:publish").await;
    clock.forward(Duration::from_secs(2));
    let request = |length: Option<usize>, body: Body| {
        let request = Request::post("/api/v1/events")
            .header("authorization", format!("Bearer {}", who.token()))
            .header("content-type", "application/json");
        let request = match length {
            Some(length) => request.header("content-length", length),
            None => request,
        };
        request.body(body).expect("a request")
    };
    let text = format!("{{\"type\":\"a.b\",\"data\":\"{}\"}}", "x".repeat(1_000));
    let answer = Answer::of(site.raw(request(Some(text.len()), Body::from(text.clone()))).await).await;
    answer.ok(201);
    assert_eq!(left(&answer, "bytes_per_tenant"), format!("r={};t=2", 2_000 - text.len()));
    let policy = answer.headers["ratelimit-policy"].to_str().expect("text");
    assert!(policy.contains("\"bytes_per_tenant\";q=2000;w=2;qu=\"content-bytes\""), "{policy}");
    // This body never comes: its head is enough.
    let never = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let answer = tokio::time::timeout(PATIENCE, site.raw(request(Some(1_500), never))).await;
    refused(&Answer::of(answer.expect("it is not waited for")).await, "limits.bytes_per_tenant", 1);
    // One without a length is counted when it has come.
    clock.forward(Duration::from_secs(2));
    let pieces = [text[..500].to_owned(), text[500..].to_owned()];
    let chunked =
        || Body::from_stream(futures_util::stream::iter(pieces.clone().map(Ok::<_, std::io::Error>)));
    let answer = Answer::of(site.raw(request(None, chunked())).await).await;
    answer.ok(201);
    assert_eq!(left(&answer, "bytes_per_tenant"), format!("r={};t=2", 2_000 - text.len()));
    refused(&Answer::of(site.raw(request(None, chunked())).await).await, "limits.bytes_per_tenant", 1);
    assert_eq!(read(&site, &who).await.ok(200)["head"], 2);
    site.close().await;
}

#[tokio::test]
async fn a_body_is_not_read_where_no_event_may_come() {
    let (site, _) = site(&["limits.publishes_per_tenant=1/s", "limits.enqueues_per_tenant=1/s"]).await;
    let who = site.operator("acme");
    publish(&site, &who, 2).await.ok(201);
    enqueue(&site, &who, 2).await.ok(201);
    for (path, key) in [("events", "limits.publishes_per_tenant"), ("jobs", "limits.enqueues_per_tenant")] {
        let never =
            Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        let request = Request::post(format!("/api/v1/{path}"))
            .header("authorization", format!("Bearer {}", who.token()))
            .header("x-tidings-tenant", "acme")
            .header("content-type", "application/json");
        let answer = site.raw(request.body(never).expect("a request")).await;
        refused(&Answer::of(answer).await, key, 1);
    }
    site.close().await;
}

#[tokio::test]
async fn tokens_of_one_user_share_and_one_without_a_user_counts_against_its_tenant_alone() {
    let (site, clock) = site(&["limits.requests_per_tenant=10/s", "limits.requests_per_key=2/s"]).await;
    site.post("/api/v1/tenants", &site.admin(), &json!({"id": "acme"})).await.ok(201);
    let keys = ServerKeys::open_or_create(site.folder(), Arc::new(SystemEntropy), Arc::new(clock.clone()));
    let keys = keys.expect("the server's own");
    let token = |user: Option<&str>, hours: u64| {
        As::bearer(&keys.issue(&TokenRequest {
            tenant: "acme".parse().expect("a tenant"),
            user: user.map(|user| user.parse().expect("a user")),
            scopes: "events:read".parse().expect("a scope"),
            subjects: None,
            ttl: Duration::from_hours(hours),
        }))
    };
    clock.forward(Duration::from_secs(2));
    for n in 1..5 {
        read(&site, &token(Some("ana"), n)).await.ok(200);
    }
    refused(&read(&site, &token(Some("ana"), 9)).await, "limits.requests_per_key", 1);
    read(&site, &token(Some("ben"), 1)).await.ok(200);
    let backend = token(None, 1);
    for _ in 0..15 {
        let answer = read(&site, &backend).await;
        answer.ok(200);
        assert!(!answer.headers["ratelimit"].to_str().expect("text").contains("per_key"));
    }
    refused(&read(&site, &backend).await, "limits.requests_per_tenant", 1);
    site.close().await;
}

#[tokio::test]
async fn a_flood_of_one_tenant_costs_the_other_nothing() {
    let (site, clock) = site(&["limits.publishes_per_tenant=20/s", "limits.requests_per_tenant=100/s"]).await;
    let loud = site.key("loud", None, "events:read events:publish").await;
    let quiet = site.key("quiet", None, "events:read events:publish").await;
    clock.forward(Duration::from_secs(2));
    let (mut published, mut limited) = (0, 0);
    // Twenty times its rate, with a request of the other between every ten.
    for n in 0..400 {
        match publish(&site, &loud, 1).await.status.as_u16() {
            201 => published += 1,
            429 => limited += 1,
            other => panic!("{other}"),
        }
        if n % 10 == 0 {
            publish(&site, &quiet, 1).await.ok(201);
        }
    }
    assert_eq!((published, limited), (40, 360));
    assert_eq!(read(&site, &quiet).await.ok(200)["head"], 40);
    let metrics = site.app.scrape();
    let limited = |key: &str| {
        let name = format!("http_requests_limited_total{{limit=\"limits.{key}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse::<u32>().expect("a count"))
    };
    // A refused publish is a request; one that is too many is refused as such.
    assert_eq!((limited("publishes_per_tenant"), limited("requests_per_tenant")), (160, 200));
    site.close().await;
}

#[tokio::test]
async fn a_reload_changes_the_limits_for_those_who_are_counted_already() {
    let (site, _) = site(&["limits.requests_per_tenant=1/s"]).await;
    let who = site.operator("acme");
    for _ in 0..2 {
        read(&site, &who).await.ok(200);
    }
    refused(&read(&site, &who).await, "limits.requests_per_tenant", 1);
    site.app.reload(&configured(site.folder(), &["limits.requests_per_tenant=off"])).expect("reloads");
    let answer = read(&site, &who).await;
    answer.ok(200);
    assert!(!answer.headers.contains_key("ratelimit"), "what is not limited is not told");
    site.app.reload(&configured(site.folder(), &["limits.requests_per_tenant=5/s"])).expect("reloads");
    // Two of what are now ten were spent.
    for _ in 0..8 {
        read(&site, &who).await.ok(200);
    }
    refused(&read(&site, &who).await, "limits.requests_per_tenant", 1);
    let unknown = site.send(Method::GET, "/api/v1/events", Some(&As::bearer("tdk_x")), &[], None).await;
    assert_eq!(unknown.problem(401), "unauthorized", "who is nobody is counted for nobody");
    site.close().await;
}

#[tokio::test]
async fn so_many_requests_are_answered_at_one_time_and_health_besides() {
    let (site, _) = site(&["limits.requests_in_flight=3"]).await;
    let who = site.operator("acme");
    let begin = || {
        let never =
            Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        let request = Request::post("/api/v1/events").body(never).expect("a request");
        let mut answer = Box::pin(site.raw(with(request, &who)));
        assert!((&mut answer).now_or_never().is_none(), "its body never comes");
        answer
    };
    let mut held: Vec<std::pin::Pin<Box<dyn Future<Output = Response> + '_>>> =
        vec![begin(), begin(), begin()];
    let refused = read(&site, &who).await;
    assert_eq!(refused.problem(503), "busy");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.json()["limit"], "limits.requests_in_flight");
    site.get("/health/live", &who).await.ok(200);
    held.pop();
    // A stream holds no place once it has begun.
    for _ in 0..4 {
        let mut request = Request::get("/api/v1/events").body(Body::empty()).expect("a request");
        request.headers_mut().insert("accept", "text/event-stream".parse().expect("a value"));
        held.push(Box::pin(std::future::ready(site.raw(with(request, &who)).await)) as _);
    }
    read(&site, &who).await.ok(200);
    held.push(begin());
    assert_eq!(read(&site, &who).await.problem(503), "busy");
    drop(held);
    read(&site, &who).await.ok(200);
    site.close().await;
}

#[tokio::test]
async fn the_delay_of_a_refusal_is_no_duration_of_a_request() {
    let (site, _) = site(&["limits.requests_per_tenant=1/s", "limits.refusal_delay=1s"]).await;
    let who = site.operator("acme");
    for _ in 0..2 {
        read(&site, &who).await.ok(200);
    }
    let durations = || {
        let scraped = site.app.scrape();
        let value = |name: &str| {
            let line = scraped.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name}in {scraped}")).parse::<f64>().expect("a number")
        };
        (value("http_request_duration_seconds_sum "), value("http_request_duration_seconds_count "))
    };
    let (sum, count) = durations();
    let asked = std::time::Instant::now();
    refused(&read(&site, &who).await, "limits.requests_per_tenant", 1);
    assert!(asked.elapsed() >= Duration::from_secs(1), "it is held back");
    let (sum_then, count_then) = durations();
    assert!((count_then - count - 1.0).abs() < 0.5, "{count} and then {count_then}");
    assert!(sum_then - sum < 0.9, "{sum} and then {sum_then}");
    site.close().await;
}

#[tokio::test]
async fn an_attempt_that_another_limit_refuses_costs_its_address_nothing() {
    let (site, clock) = site(&[
        "limits.upgrades_per_ip=5/s",
        "limits.connections_per_ip=2",
        "limits.requests_per_tenant=2/s",
        "limits.refusal_delay=1ms",
    ])
    .await;
    let attempt = async |who: &As| {
        let mut request = with(Request::get("/api/v1/events").body(Body::empty()).expect("a request"), who);
        request.headers_mut().insert("accept", "text/event-stream".parse().expect("a value"));
        let peer: std::net::SocketAddr = "192.0.2.1:5".parse().expect("an address");
        request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
        site.raw(request).await
    };
    let who = site.operator("acme");
    for _ in 0..4 {
        read(&site, &who).await.ok(200);
    }
    for _ in 0..30 {
        refused(&Answer::of(attempt(&who).await).await, "limits.requests_per_tenant", 1);
    }
    clock.forward(Duration::from_secs(2));
    let held = [attempt(&who).await, attempt(&who).await];
    assert!(held.iter().all(|answer| answer.status() == 200), "two of the burst of ten");
    for _ in 0..30 {
        let answer = Answer::of(attempt(&who).await).await;
        assert_eq!(answer.problem(429), "connections-limited");
        assert_eq!(answer.json()["limit"], "limits.connections_per_ip");
    }
    drop(held);
    // Who is nobody is counted: else an address could guess at will.
    let stranger = As::bearer("tdk_x");
    until("a place is free", async || attempt(&stranger).await.status() == 401).await;
    for _ in 1..8 {
        assert_eq!(attempt(&stranger).await.status(), 401);
    }
    refused(&Answer::of(attempt(&who).await).await, "limits.upgrades_per_ip", 1);
    site.close().await;
}

fn with(mut request: Request, who: &As) -> Request {
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {}", who.token()).parse().expect("a value"));
    headers.insert("x-tidings-tenant", "acme".parse().expect("a value"));
    headers.insert("content-type", "application/json".parse().expect("a value"));
    request
}
