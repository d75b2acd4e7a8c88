use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use tidings_store::{Command, Maintain, Retention};

use crate::site::Site;

#[tokio::test]
async fn what_is_published_is_numbered_and_replayed() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let body = r#"{"type":"note.created","data":{ "z" : 1, "a":2 },"subject":"note/1"}"#;
    let one = site.send(Method::POST, "/api/v1/events", Some(&who), &[], Some(body)).await.ok(201);
    assert_eq!(one["seq"], 1);
    let many = site.post("/api/v1/events", &who, &json!([{"type": "a"}, {"type": "b"}])).await.ok(201);
    assert_eq!((&many["events"][0]["seq"], &many["events"][1]["seq"]), (&json!(2), &json!(3)));
    let page = site.get("/api/v1/events?limit=2", &who).await;
    let text = String::from_utf8(page.body.to_vec()).expect("text");
    let head =
        format!(r#"{{"events":[{{"seq":1,"id":{},"type":"note.created","time":{}"#, one["id"], one["time"]);
    assert!(text.starts_with(&head), "{text}");
    assert!(text.contains(r#""data":{"z":1,"a":2}"#), "{text}");
    let page = page.ok(200);
    assert_eq!((&page["head"], &page["oldest"]), (&json!(3), &json!(1)));
    let next = page["next"].as_str().expect("a cursor");
    let rest = site.get(&format!("/api/v1/events?since={next}"), &who).await.ok(200);
    assert_eq!(rest["events"][0]["seq"], 3);
    let end = rest["next"].as_str().expect("a cursor");
    assert!(end.ends_with(":3"), "{end}");
    let none = site.get(&format!("/api/v1/events?since={end}"), &who).await.ok(200);
    assert_eq!((&none["events"], none["next"].as_str()), (&json!([]), Some(end)));
    site.close().await;
}

#[tokio::test]
async fn a_filter_hides_no_gap() {
    let site = Site::open().await;
    let who = site.operator("acme");
    for batch in 0..3 {
        let events: Vec<Value> = (0..1_000)
            .map(|n| json!({"type": if n == 999 { "rare" } else { "common" }, "data": batch}))
            .collect();
        site.post("/api/v1/events", &who, &json!(events)).await.ok(201);
    }
    let page = site.get("/api/v1/events?types=rare&limit=2", &who).await.ok(200);
    let seqs: Vec<_> = page["events"].as_array().expect("events").iter().map(|e| e["seq"].as_u64()).collect();
    assert_eq!(seqs, [Some(1_000), Some(2_000)]);
    let next = page["next"].as_str().expect("a cursor");
    let rest = site.get(&format!("/api/v1/events?types=rare&limit=2&since={next}"), &who).await.ok(200);
    assert_eq!(rest["events"].as_array().map(Vec::len), Some(1));
    assert!(rest["next"].as_str().expect("a cursor").ends_with(":3000"));
    site.close().await;
}

#[tokio::test]
async fn waiting_ends_with_an_event_or_with_its_time() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let (page, ()) = tokio::join!(site.get("/api/v1/events?wait=30&types=wanted", &who), async {
        for kind in ["other", "wanted"] {
            tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await.ok();
            site.post("/api/v1/events", &who, &json!({"type": kind})).await.ok(201);
        }
    });
    let page = page.ok(200);
    assert_eq!(page["events"][0]["type"], "wanted");
    let next = page["next"].as_str().expect("a cursor");
    let none = site.get(&format!("/api/v1/events?wait=1&since={next}"), &who).await.ok(200);
    assert_eq!(none["events"], json!([]));
    site.close().await;
}

#[tokio::test]
async fn a_tenant_that_is_not_there_reads_as_an_empty_log() {
    let site = Site::open().await;
    let who = site.operator("fresh");
    let page = site.get("/api/v1/events", &who).await.ok(200);
    assert_eq!(page, json!({"events": [], "next": "0", "head": 0, "oldest": 1}));
    assert_eq!(site.get("/api/v1/events?since=5", &who).await.problem(410), "cursor-gone");
    assert_eq!(site.get("/api/v1/jobs", &who).await.ok(200), json!({"jobs": []}));
    assert_eq!(site.get("/api/v1/queues", &who).await.ok(200), json!({"queues": []}));
    let known = site.get("/api/v1/tenants", &site.admin()).await.ok(200);
    assert_eq!(known["tenants"], json!([]), "reading made nothing");
    site.close().await;
}

#[tokio::test]
async fn an_expired_cursor_is_told_from_where_to_start_again() {
    let site = Site::with(&["retention.events_per_tenant=5"]).await;
    let who = site.operator("acme");
    let first = site.post("/api/v1/events", &who, &json!({"type": "a"})).await.ok(201);
    let page = site.get("/api/v1/events", &who).await.ok(200);
    let cursor = page["next"].as_str().expect("a cursor").to_owned();
    for _ in 0..20 {
        site.post("/api/v1/events", &who, &json!({"type": "a"})).await.ok(201);
    }
    let retention = Retention::of_log(None, Some(5));
    let retain = Command::Maintain(Maintain::Retain { retention, limit: 1_000 });
    site.app.journal().submit(retain).await.expect("sweeps");
    let gone = site.get(&format!("/api/v1/events?since={cursor}"), &who).await;
    assert_eq!(gone.problem(410), "cursor-gone");
    assert_eq!((&gone.json()["reason"], &gone.json()["oldest"]), (&json!("expired"), &json!(17)));
    let kept = site.get("/api/v1/events?since=0", &who).await.ok(200);
    assert_eq!(kept["events"][0]["seq"], 17);
    assert_eq!(first["seq"], 1);
    site.close().await;
}

#[tokio::test]
async fn verbosity_is_for_those_who_may() {
    let site = Site::with(&["server.mode=development"]).await;
    let operator = site.operator("acme");
    let reader = site.key("acme", None, "jobs:read:all events:read").await;
    site.enqueue(&operator, json!({"type": "a", "payload": {"secret": 1}})).await;
    let plain = site.get("/api/v1/events", &reader).await.ok(200);
    assert_eq!(plain["events"][0]["data"]["payload"], Value::Null);
    for more in ["detail", "debug"] {
        let path = format!("/api/v1/events?verbosity={more}");
        assert_eq!(site.get(&path, &reader).await.problem(403), "forbidden");
        assert_eq!(
            site.get(&path, &operator).await.ok(200)["events"][0]["data"]["payload"],
            json!({"secret": 1})
        );
    }
    site.close().await;
}

#[tokio::test]
async fn scopes_decide_which_kinds_of_events_are_seen() {
    let site = Site::open().await;
    let operator = site.operator("acme");
    site.enqueue(&operator, json!({"type": "a", "owner": "ana"})).await;
    site.enqueue(&operator, json!({"type": "a", "owner": "ben"})).await;
    site.post("/api/v1/events", &operator, &json!({"type": "note", "owner": "ana"})).await.ok(201);
    let count = async |who| {
        let page = site.get("/api/v1/events", who).await.ok(200);
        page["events"].as_array().map(Vec::len)
    };
    let (published, jobs) =
        (site.key("acme", None, "events:read").await, site.key("acme", None, "jobs:read:all").await);
    assert_eq!((count(&published).await, count(&jobs).await), (Some(1), Some(2)));
    let ana = site.key("acme", Some("ana"), "jobs:read:own").await;
    assert_eq!(count(&ana).await, Some(1));
    let nobody = site.key("acme", None, "jobs:read:own").await;
    assert_eq!(count(&nobody).await, Some(0));
    assert_eq!(site.get("/api/v1/events?owner=ben", &ana).await.problem(403), "forbidden");
    site.close().await;
}

#[tokio::test]
async fn a_query_that_is_not_well_formed_is_refused_not_guessed_at() {
    let site = Site::open().await;
    let who = site.operator("acme");
    for query in ["subject=50%", "types=%zz", "owner=%ff", "since=%3"] {
        let answer = site.get(&format!("/api/v1/events?{query}"), &who).await;
        assert_eq!(answer.problem(400), "bad-parameter", "{query}");
    }
    site.get("/api/v1/events?subject=50%25", &who).await.ok(200);
    site.close().await;
}

#[tokio::test]
async fn cloud_events_are_published_in_every_mode() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let send = async |content_type: &str, headers: &[(&str, &str)], body: &str| {
        let headers = [&[("content-type", content_type)], headers].concat();
        site.send(http::Method::POST, "/api/v1/events", Some(&who), &headers, Some(body)).await
    };
    let one = r#"{"specversion":"1.0","id":"1","source":"/s","type":"note.created","subject":"note/1","owner":"ana",
                  "time":"2026-11-23T07:12:09Z","traceparent":"00-x","data":{"n": 1.50}}"#;
    assert_eq!(send("application/cloudevents+json; charset=utf-8", &[], one).await.ok(201)["seq"], 1);
    let many = format!("[{one},{}]", one.replace("note.created", "note.deleted"));
    let answer = send("application/cloudevents-batch+json", &[], &many).await.ok(201);
    assert_eq!(answer["events"][1]["seq"], 3);
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/s"),
        ("ce-type", "note.moved"),
        ("ce-subject", "note/%C3%A9"),
        ("idempotency-key", "k"),
    ];
    let first = send("application/json", &binary, r#"{"n":2}"#).await.ok(201);
    assert_eq!(send("application/json", &binary, r#"{"n":2}"#).await.json(), first, "a repeat");
    assert_eq!(send("application/json", &binary, r#"{"n":3}"#).await.problem(422), "idempotency-mismatch");
    let log = site.get("/api/v1/events?since=0", &who).await;
    assert!(String::from_utf8_lossy(&log.body).contains(r#""data":{"n":1.50}"#), "data stays as it is");
    let log = log.ok(200);
    let told: Vec<_> =
        log["events"].as_array().expect("events").iter().map(|e| (&e["type"], &e["subject"])).collect();
    let note = json!("note/1");
    let expected = [
        (&json!("note.created"), &note),
        (&json!("note.created"), &note),
        (&json!("note.deleted"), &note),
        (&json!("note.moved"), &json!("note/é")),
    ];
    assert_eq!(told, expected);
    assert_eq!(log["events"][0]["owner"], "ana");
    for (content_type, headers, body, problem) in [
        ("application/cloudevents+json", &[][..], one.replace("1.0", "0.3"), "invalid-body"),
        ("application/cloudevents+json", &[], one.replace("note.created", "job.completed"), "invalid-body"),
        ("application/cloudevents+json", &[], one.replace("\"data\"", "\"data_base64\""), "invalid-body"),
        ("application/cloudevents+json", &[], many.clone(), "invalid-body"),
        ("application/cloudevents+json", &[], one.replace("traceparent", "traceParent"), "invalid-body"),
        ("application/cloudevents+json", &[], one.replace("2026-11-23T07:12:09Z", "nope"), "invalid-body"),
        ("application/cloudevents+json; charset=latin1", &[], one.to_owned(), "unsupported-media-type"),
        ("application/cloudevents-batch+json", &[], one.to_owned(), "invalid-body"),
        ("text/plain", &binary[..5], "hello".to_owned(), "unsupported-media-type"),
        ("text/plain", &[], one.to_owned(), "unsupported-media-type"),
    ] {
        let answer = send(content_type, headers, &body).await;
        assert!(answer.status.is_client_error(), "{content_type} {body}");
        assert_eq!(answer.problem(answer.status.as_u16()), problem, "{content_type} {body}");
    }
    site.close().await;
}
