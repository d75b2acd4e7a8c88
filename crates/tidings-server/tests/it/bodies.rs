use http::Method;
use serde_json::json;

use crate::site::{Site, configured};

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "it is a table")]
async fn each_wrong_body_gets_its_documented_answer() {
    let site =
        Site::with(&["limits.body_bytes=100000", "limits.event_bytes=1000", "limits.batch_items=3"]).await;
    let who = site.operator("acme");
    let deep = format!("{{\"type\":\"a.b\",\"data\":{}{}}}", "[".repeat(500), "]".repeat(500));
    let large = format!("{{\"type\":\"a.b\",\"data\":\"{}\"}}", "x".repeat(2_000));
    let huge = format!("{{\"type\":\"a.b\",\"data\":\"{}\"}}", "x".repeat(200_000));
    let cases: &[(&str, &str, u16, &str, &str)] = &[
        ("/api/v1/events", "", 400, "malformed-json", "line 1"),
        ("/api/v1/events", "{", 400, "malformed-json", "line 1, column 1"),
        ("/api/v1/events", "{\"type\":\"a.b\"} x", 400, "malformed-json", "trailing"),
        ("/api/v1/events", "{\"type\":\"a.b\",\"data\":1e999}", 422, "invalid-body", "$.data"),
        ("/api/v1/events", "{\"type\":\"a.b\",\"data\":\"\\ud800\"}", 422, "invalid-body", "$.data"),
        ("/api/v1/events", &deep, 422, "invalid-body", "deeper than 64"),
        ("/api/v1/events", "7", 422, "invalid-body", "$: "),
        ("/api/v1/events", "[]", 422, "invalid-body", "empty"),
        ("/api/v1/events", "{\"data\":1}", 422, "invalid-body", "$.type: missing field `type`"),
        ("/api/v1/events", "{\"type\":1}", 422, "invalid-body", "$.type"),
        ("/api/v1/events", "{\"type\":\"job.completed\"}", 422, "invalid-body", "made by the server alone"),
        ("/api/v1/events", "[{\"type\":\"a\"},{\"type\":\"A\"}]", 422, "invalid-body", "$[1].type"),
        ("/api/v1/events", "{\"type\":\"a.b\",\"tenant_id\":\"x\"}", 422, "invalid-body", "unknown field"),
        ("/api/v1/events", "{\"type\":\"a\",\"type\":\"b\"}", 422, "invalid-body", "duplicate field"),
        ("/api/v1/events", "[[\"a.b\",1,null,null]]", 422, "invalid-body", "expected an object"),
        ("/api/v1/tickets", "[\"ana\"]", 422, "invalid-body", "expected an object"),
        ("/api/v1/jobs", "{\"type\":\"a\",\"backoff\":[\"1s\",\"2s\"]}", 422, "invalid-body", "$.backoff"),
        ("/api/v1/events", &large, 413, "too-large", "limits.event_bytes"),
        ("/api/v1/events", &huge, 413, "too-large", "limits.body_bytes"),
        (
            "/api/v1/events",
            "[{\"type\":\"a\"},{\"type\":\"a\"},{\"type\":\"a\"},{\"type\":\"a\"}]",
            413,
            "too-large",
            "limits.batch_items",
        ),
        (
            "/api/v1/leases",
            "{\"worker\":\"w\",\"job\":{\"type\":\"a\",\"run_at\":\"2099-01-01T00:00:00Z\"}}",
            422,
            "invalid-body",
            "$.job.run_at: ",
        ),
        ("/api/v1/jobs", "{\"type\":\"a\",\"priority\":1001}", 422, "invalid-body", "$.priority: "),
        (
            "/api/v1/jobs",
            "[{\"type\":\"a\"},{\"type\":\"a\",\"max_attempts\":0}]",
            422,
            "invalid-body",
            "$[1].max_attempts: ",
        ),
        (
            "/api/v1/jobs",
            "{\"type\":\"a\",\"backoff\":{\"base\":\"2h\",\"max\":\"1h\"}}",
            422,
            "invalid-body",
            "$.backoff: ",
        ),
        (
            "/api/v1/jobs",
            "{\"type\":\"a\",\"priority\":\"high\"}",
            422,
            "invalid-body",
            "expected a whole number",
        ),
        (
            "/api/v1/jobs",
            "{\"type\":\"a\",\"run_at\":\"9999-12-31T23:59:59Z\"}",
            422,
            "invalid-body",
            "9999-12-30",
        ),
        ("/api/v1/jobs", "{\"type\":\"a\",\"backoff\":{\"base\":\"99999d\"}}", 422, "invalid-body", "36500d"),
        ("/api/v1/jobs", "{\"type\":\"A B\"}", 422, "invalid-body", "$.type"),
        ("/api/v1/jobs", "{\"type\":\"a\",\"priority\":99999999999999}", 422, "invalid-body", "priority"),
        (
            "/api/v1/jobs",
            "{\"type\":\"a\",\"priority\":1e400}",
            422,
            "invalid-body",
            "$.priority: number out",
        ),
        ("/api/v1/jobs", "{\"type\":\"a\",\"max_attempts\":0}", 422, "invalid-body", "max_attempts"),
        ("/api/v1/jobs", "{\"type\":\"a\",\"run_at\":\"tomorrow\"}", 422, "invalid-body", "$.run_at"),
        (
            "/api/v1/jobs",
            "{\"type\":\"a\",\"backoff\":{\"base\":\"5\"}}",
            422,
            "invalid-body",
            "$.backoff.base",
        ),
        (
            "/api/v1/jobs",
            "[{\"type\":\"a\"},{\"type\":\"a\",\"backoff\":{\"base\":\"60d\"}}]",
            422,
            "invalid-body",
            "$[1]",
        ),
        ("/api/v1/leases", "{\"worker\":\"w\"}", 422, "invalid-body", "$.types"),
        ("/api/v1/leases", "{\"worker\":\"w\",\"types\":[\"a\"],\"max\":101}", 422, "invalid-body", "$.max"),
        (
            "/api/v1/leases",
            "{\"worker\":\"w\",\"types\":[\"a\"],\"wait_s\":61}",
            422,
            "invalid-body",
            "$.wait_s",
        ),
        ("/api/v1/keys", "{\"name\":\"x\",\"scopes\":\"events:rule\"}", 422, "invalid-body", "events:rule"),
        ("/api/v1/keys", "{\"name\":\"\",\"scopes\":\"events:read\"}", 422, "invalid-body", "$.name"),
        ("/api/v1/tickets", "{\"colour\":\"red\"}", 422, "invalid-body", "unknown field"),
        ("/api/v1/tenants", "{\"id\":\"../x\"}", 422, "invalid-body", "$.id"),
        ("/api/v1/webhooks", "{\"url\":\"x\",\"url\":\"y\"}", 422, "invalid-body", "duplicate field `url`"),
        ("/api/v1/webhooks", "{\"metadata\":{\"a\":\"1\",\"a\":\"2\"}}", 422, "invalid-body", "$.metadata: "),
        ("/api/v1/webhooks", "{\"concurrency\":1e400}", 422, "invalid-body", "$.concurrency: number out"),
    ];
    for (path, body, status, kind, part) in cases {
        let answer = site.send(Method::POST, path, Some(&who), &[], Some(body)).await;
        assert_eq!(answer.problem(*status), *kind, "{path} {body:.80}: {:?}", answer.body);
        let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains(part), "{path} {body:.80}: {detail}");
    }
    // Nothing of it was done, and the server is as it was.
    let page = site.get("/api/v1/events", &who).await.ok(200);
    assert_eq!(page["head"], 0, "{page}");
    site.post("/api/v1/events", &who, &json!({"type": "a.b"})).await.ok(201);
    site.close().await;
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let site = Site::open().await;
    let who = site.operator("acme");
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let headers = [("content-type", content_type)];
        let answer =
            site.send(Method::POST, "/api/v1/events", Some(&who), &headers, Some("{\"type\":\"a\"}")).await;
        assert_eq!(answer.problem(415), "unsupported-media-type", "{content_type}");
    }
    for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
        let headers = [("content-type", content_type)];
        let answer =
            site.send(Method::POST, "/api/v1/events", Some(&who), &headers, Some("{\"type\":\"a\"}")).await;
        answer.ok(201);
    }
    for encoding in ["gzip", "identity, gzip"] {
        let headers = [("content-encoding", encoding)];
        let answer =
            site.send(Method::POST, "/api/v1/events", Some(&who), &headers, Some("{\"type\":\"a\"}")).await;
        assert_eq!(answer.problem(415), "unsupported-media-type", "{encoding}");
        assert!(
            answer.json()["detail"].as_str().is_some_and(|d| d.contains("Content-Encoding")),
            "{encoding}"
        );
    }
    site.close().await;
}

#[tokio::test]
async fn each_wrong_parameter_gets_its_documented_answer() {
    let site = Site::open().await;
    let who = site.operator("acme");
    site.post("/api/v1/events", &who, &json!({"type": "a"})).await.ok(201);
    for (query, status, kind) in [
        ("since=abc", 400, "bad-cursor"),
        ("since=-1", 400, "bad-cursor"),
        ("since=9223372036854775808", 400, "bad-cursor"),
        ("since=", 400, "bad-cursor"),
        ("since=1&since=2", 400, "bad-parameter"),
        ("limit=0", 400, "bad-parameter"),
        ("limit=1001", 400, "bad-parameter"),
        ("limit=+5", 400, "bad-parameter"),
        ("wait=61", 400, "bad-parameter"),
        ("colour=red", 400, "bad-parameter"),
        ("verbosity=loud", 400, "bad-parameter"),
        ("types=a*b", 400, "bad-filter"),
        ("types=", 400, "bad-filter"),
        ("job_id=42", 400, "bad-filter"),
        ("owner=me", 400, "bad-filter"),
        ("verbosity=debug", 403, "forbidden"),
        ("since=2", 410, "cursor-gone"),
        ("since=zzzz:1", 410, "cursor-gone"),
    ] {
        let answer = site.get(&format!("/api/v1/events?{query}"), &who).await;
        assert_eq!(answer.problem(status), kind, "{query}");
    }
    for header in ["text/event-stream;q=0", "application/json; q=0.0, text/event-stream;Q=0"] {
        let accept = [("accept", header)];
        let answer = site.send(Method::GET, "/api/v1/events", Some(&who), &accept, None).await;
        assert_eq!(answer.problem(406), "not-acceptable", "{header}");
    }
    let accept = [("accept", "image/png")];
    let answer = site.send(Method::GET, "/api/v1/events", Some(&who), &accept, None).await;
    assert_eq!(answer.problem(406), "not-acceptable");
    site.close().await;
}

#[tokio::test]
async fn json_may_be_as_deep_as_is_configured() {
    let site = Site::with(&["limits.json_depth=3"]).await;
    let who = site.operator("acme");
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let send = async |path: &str, body: String| {
        let answer = site.send(Method::POST, path, Some(&who), &[], Some(&body)).await;
        (answer.status.as_u16(), answer)
    };
    let event = |depth| format!(r#"[{{"type":"a.b"}},{{"type":"a.b","data":{}}}]"#, nested(depth));
    let job = |depth| format!(r#"{{"type":"a","payload":{}}}"#, nested(depth));
    let result = |depth| format!(r#"{{"result":{}}}"#, nested(depth));
    assert_eq!(send("/api/v1/events", event(3)).await.0, 201);
    assert_eq!(send("/api/v1/jobs", job(3)).await.0, 201);
    let lease = format!("/api/v1/leases/{}/complete", site.lease(&who, "a").await);
    for (path, body, place) in [
        ("/api/v1/events", event(4), "$[1].data"),
        ("/api/v1/jobs", job(4), "$.payload"),
        (lease.as_str(), result(4), "$.result"),
    ] {
        let answer = send(path, body).await.1;
        assert_eq!(answer.problem(422), "invalid-body");
        assert_eq!(
            (&answer.json()["path"], &answer.json()["limit"]),
            (&json!(place), &json!("limits.json_depth"))
        );
    }
    assert_eq!(send(&lease, result(3)).await.0, 200);
    site.app.reload(&configured(site.folder(), &[])).expect("reloads");
    assert_eq!(send("/api/v1/events", event(64)).await.0, 201);
    let answer = send("/api/v1/events", event(65)).await.1;
    assert_eq!(answer.problem(422), "invalid-body");
    assert_eq!(answer.json()["limit"], "limits.json_depth");
    assert_eq!(send("/api/v1/events", "[{}]".into()).await.1.problem(422), "invalid-body", "of no limit");
    let scraped = site.app.scrape();
    for counted in [
        "http_requests_limited_total{limit=\"limits.json_depth\"} 4\n",
        "http_requests_rejected_total{reason=\"invalid-body\"} 4\n",
        "http_problems_total{type=\"invalid-body\"} 5\n",
    ] {
        assert!(scraped.contains(counted), "{counted} is not in {scraped}");
    }
    site.close().await;
}
