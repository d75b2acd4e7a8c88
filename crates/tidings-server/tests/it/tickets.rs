use http::Method;
use serde_json::json;

use crate::site::{As, Site};

#[tokio::test]
async fn a_ticket_opens_one_reading_and_no_second() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let made = site.post("/api/v1/tickets", &who, &json!({})).await.ok(201);
    let ticket = made["ticket"].as_str().expect("a ticket");
    assert!(made["expires_at"].is_string());
    let path = format!("/api/v1/events?ticket={ticket}");
    site.send(Method::GET, &path, None, &[], None).await.ok(200);
    assert_eq!(site.send(Method::GET, &path, None, &[], None).await.problem(401), "unauthorized");
    // Nowhere else does it count.
    let fresh = site.act("/api/v1/tickets", &who).await.ok(201);
    let ticket = fresh["ticket"].as_str().expect("a ticket");
    assert_eq!(
        site.send(Method::GET, &format!("/api/v1/jobs?ticket={ticket}"), None, &[], None).await.problem(401),
        "unauthorized"
    );
    assert_eq!(site.get("/api/v1/jobs", &As::bearer(ticket)).await.problem(401), "unauthorized");
    let both = site.get(&format!("/api/v1/events?ticket={ticket}"), &who).await;
    assert_eq!(both.problem(400), "bad-parameter");
    site.close().await;
}

#[tokio::test]
async fn a_ticket_is_bound_and_no_wider_than_its_minter() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let bound =
        site.post("/api/v1/tickets", &who, &json!({"origin": "https://app.example.com"})).await.ok(201);
    let path = format!("/api/v1/events?ticket={}", bound["ticket"].as_str().expect("a ticket"));
    for origin in [None, Some("https://evil.example.com"), Some("null")] {
        let headers: Vec<_> = origin.map(|o| ("origin", o)).into_iter().collect();
        assert_eq!(site.send(Method::GET, &path, None, &headers, None).await.problem(401), "unauthorized");
    }
    site.send(Method::GET, &path, None, &[("origin", "https://app.example.com")], None).await.ok(200);
    let reader = site.key("acme", None, "events:read").await;
    let wider = site.post("/api/v1/tickets", &reader, &json!({"scopes": ["jobs:read:all"]})).await;
    assert_eq!(wider.problem(403), "forbidden");
    let elsewhere = site.post("/api/v1/tickets", &reader, &json!({"tenant": "other"})).await;
    assert_eq!(elsewhere.problem(403), "forbidden");
    let odd = site.post("/api/v1/tickets", &reader, &json!({"origin": "app"})).await;
    assert_eq!(odd.problem(422), "invalid-body");
    site.close().await;
}
