use http::Method;
use serde_json::json;

use crate::site::Site;

#[tokio::test]
async fn health_needs_no_credential_and_metrics_are_not_here() {
    let site = Site::open().await;
    for path in ["/health", "/health/ready", "/health/live"] {
        assert_eq!(site.send(Method::GET, path, None, &[], None).await.ok(200)["status"], "ok");
    }
    assert_eq!(site.send(Method::GET, "/metrics", None, &[], None).await.problem(404), "not-found");
    site.close().await;
}

#[tokio::test]
async fn what_happens_is_counted_and_nobody_is_named() {
    let site = Site::open().await;
    let who = site.operator("acme-corp");
    site.post("/api/v1/events", &who, &json!({"type": "secret.type", "owner": "ana-the-user"})).await.ok(201);
    site.enqueue(&who, json!({"type": "embedding"})).await;
    site.get("/api/v1/jobs/x", &who).await.problem(404);
    site.send(Method::GET, "/api/v1/jobs", None, &[], None).await.problem(401);
    let text = site.app.scrape();
    for line in [
        "events_published_total 1",
        "jobs_transitions_total{event=\"queued\"} 1",
        "http_requests_total{route=\"/api/v1/jobs/{id}\",method=\"GET\",status=\"404\"} 1",
        "http_problems_total{type=\"unauthorized\"} 1",
        "auth_results_total{result=\"missing\"} 1",
        "log_commit_duration_seconds_bucket",
        "websocket_connections_active 0",
        "broadcast_channel_utilization 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for name in ["acme-corp", "ana-the-user", "embedding", "secret.type"] {
        assert!(!text.contains(name), "{name} is in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    site.close().await;
}
