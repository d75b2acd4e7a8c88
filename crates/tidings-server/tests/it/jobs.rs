use http::Method;
use serde_json::{Value, json};

use crate::site::Site;

#[tokio::test]
async fn one_job_is_answered_as_it_is_and_several_as_a_list() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let body = json!({
        "type": "embedding", "payload": {"b": 1, "a": [2, 3.50]}, "priority": 5, "subject": "note/42",
        "max_attempts": 3, "unique_key": "k", "owner": "ana", "backoff": {"base": "2s", "max": "1m"}
    });
    let job = site.enqueue(&who, body).await;
    assert_eq!(
        (&job["type"], &job["state"], &job["seq"]),
        (&json!("embedding"), &json!("queued"), &json!(1))
    );
    assert_eq!(job["payload"], json!({"b": 1, "a": [2, 3.5]}));
    let later = json!([{"type": "a"}, {"type": "b", "run_at": "2126-01-01T00:00:00Z"}]);
    let many = site.post("/api/v1/jobs", &who, &later).await.ok(201);
    assert_eq!(many["jobs"][0]["state"], "queued");
    assert_eq!(many["jobs"][1]["state"], "scheduled");
    let id = job["id"].as_str().expect("an id");
    let shown = site.get(&format!("/api/v1/jobs/{id}"), &who).await.ok(200);
    assert_eq!(shown, job);
    let events = site.get(&format!("/api/v1/jobs/{id}/events"), &who).await.ok(200);
    assert_eq!(events["events"][0]["type"], "job.queued");
    assert_eq!(events["events"].as_array().map(Vec::len), Some(1));
    site.close().await;
}

#[tokio::test]
async fn a_live_job_holds_its_unique_key() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let body = json!({"type": "a", "unique_key": "k", "owner": "ana"});
    let first = site.enqueue(&who, body.clone()).await;
    let second = site.post("/api/v1/jobs", &who, &body).await.ok(200);
    assert_eq!(first["id"], second["id"]);
    let ben = site.key("acme", Some("ben"), "jobs:write jobs:read:own").await;
    let held = site.post("/api/v1/jobs", &ben, &json!({"type": "a", "unique_key": "k"})).await;
    assert_eq!(held.problem(409), "unique-key-held");
    assert!(!String::from_utf8_lossy(&held.body).contains(first["id"].as_str().expect("an id")));
    // What was made beside it is told, since it is there.
    let two = json!([{"type": "b"}, {"type": "a", "unique_key": "k"}]);
    let partly = site.post("/api/v1/jobs", &ben, &two).await.ok(201);
    assert_eq!(partly["jobs"][0]["owner"], "ben");
    assert_eq!(partly["jobs"][1], json!({"unique_key_held": true}));
    // A job made again that meets another owner's is answered alike.
    let third = json!({"type": "c", "unique_key": "k", "run_at": "2126-01-01T00:00:00Z"});
    let bens = site.post("/api/v1/jobs", &ben, &third).await.ok(201);
    let bens = format!("/api/v1/jobs/{}", bens["id"].as_str().expect("an id"));
    site.act(&format!("{bens}/cancel"), &ben).await.ok(200);
    let anas = json!({"type": "c", "unique_key": "k", "owner": "ana"});
    site.post("/api/v1/jobs", &who, &anas).await.ok(201);
    assert_eq!(site.act(&format!("{bens}/retry"), &ben).await.problem(409), "unique-key-held");
    site.close().await;
}

#[tokio::test]
async fn a_repeat_under_an_idempotency_key_gets_the_first_outcome() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let key = [("idempotency-key", "once")];
    let body = r#"{"type":"a"}"#;
    let first = site.send(Method::POST, "/api/v1/jobs", Some(&who), &key, Some(body)).await.ok(201);
    let again = site.send(Method::POST, "/api/v1/jobs", Some(&who), &key, Some(body)).await.ok(200);
    assert_eq!(first, again);
    let other = site.send(Method::POST, "/api/v1/jobs", Some(&who), &key, Some(r#"{"type":"b"}"#)).await;
    assert_eq!(other.problem(422), "idempotency-mismatch");
    // A key means one thing per route and tenant.
    let event = site.send(Method::POST, "/api/v1/events", Some(&who), &key, Some(body)).await.ok(201);
    assert_eq!(site.send(Method::POST, "/api/v1/events", Some(&who), &key, Some(body)).await.ok(201), event);
    let beta = site.operator("beta");
    site.send(Method::POST, "/api/v1/jobs", Some(&beta), &key, Some(r#"{"type":"b"}"#)).await.ok(201);
    for bad in ["", "a b", "é", &"x".repeat(256)] {
        let header = [("idempotency-key", bad)];
        let answer = site.send(Method::POST, "/api/v1/jobs", Some(&who), &header, Some(body)).await;
        assert_eq!(answer.problem(400), "bad-parameter", "{bad}");
    }
    site.close().await;
}

#[tokio::test]
async fn jobs_are_listed_newest_first_by_pages_and_filters() {
    let site = Site::open().await;
    let who = site.operator("acme");
    for n in 0..7 {
        let kind = if n % 2 == 0 { "even" } else { "odd" };
        site.enqueue(&who, json!({"type": kind, "payload": n, "subject": format!("n/{n}")})).await;
    }
    let mut payloads = Vec::new();
    let mut path = "/api/v1/jobs?limit=3".to_owned();
    loop {
        let page = site.get(&path, &who).await.ok(200);
        payloads
            .extend(page["jobs"].as_array().expect("jobs").iter().map(|j| j["payload"].as_u64().expect("n")));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/jobs?limit=3&cursor={next}");
    }
    assert_eq!(payloads, [6, 5, 4, 3, 2, 1, 0]);
    let count = async |query: &str| {
        let page = site.get(&format!("/api/v1/jobs?{query}"), &who).await.ok(200);
        page["jobs"].as_array().map(Vec::len)
    };
    assert_eq!(count("type=odd").await, Some(3));
    assert_eq!(count("state=queued&type=even").await, Some(4));
    assert_eq!(count("state=running").await, Some(0));
    assert_eq!(count("subject=n/3").await, Some(1));
    for bad in ["state=lost", "limit=0", "type=A B", "owner=me"] {
        let query = bad.replace(' ', "%20");
        assert_eq!(
            site.get(&format!("/api/v1/jobs?{query}"), &who).await.problem(400),
            "bad-parameter",
            "{bad}"
        );
    }
    assert_eq!(site.get("/api/v1/jobs?cursor=x", &who).await.problem(400), "bad-cursor");
    site.close().await;
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once_and_a_finished_one_is_retried_as_a_new_one() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let job = site.enqueue(&who, json!({"type": "a"})).await;
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().expect("an id"));
    assert_eq!(site.act(&format!("{path}/retry"), &who).await.problem(409), "wrong-state");
    let cancelled = site.act(&format!("{path}/cancel"), &who).await.ok(200);
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(site.act(&format!("{path}/cancel"), &who).await.problem(409), "wrong-state");
    let again = site.act(&format!("{path}/retry"), &who).await.ok(201);
    assert_eq!((&again["retry_of"], &again["state"]), (&job["id"], &json!("queued")));
    site.close().await;
}

#[tokio::test]
async fn a_user_has_its_own_jobs_and_no_others() {
    let site = Site::open().await;
    let ana = site.key("acme", Some("ana"), "jobs:write jobs:read:own").await;
    let ben = site.key("acme", Some("ben"), "jobs:write jobs:read:own").await;
    let backend = site.key("acme", None, "jobs:write jobs:read:all").await;
    let mine = site.enqueue(&ana, json!({"type": "a"})).await;
    assert_eq!(mine["owner"], "ana");
    let ownerless = site.enqueue(&backend, json!({"type": "a"})).await;
    assert_eq!(ownerless["owner"], Value::Null);
    site.enqueue(&backend, json!({"type": "a", "owner": "ben"})).await;
    assert_eq!(
        site.post("/api/v1/jobs", &ana, &json!({"type": "a", "owner": "ben"})).await.problem(403),
        "forbidden"
    );
    let owners = async |who| {
        let page = site.get("/api/v1/jobs", who).await.ok(200);
        page["jobs"].as_array().expect("jobs").iter().map(|j| j["owner"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(owners(&ana).await, [json!("ana")]);
    assert_eq!(owners(&ben).await, [json!("ben")]);
    assert_eq!(owners(&backend).await.len(), 3);
    assert_eq!(site.get("/api/v1/jobs?owner=ben", &ana).await.problem(403), "forbidden");
    site.get("/api/v1/jobs?owner=me", &ana).await.ok(200);
    for job in [&mine, &ownerless] {
        let path = format!("/api/v1/jobs/{}", job["id"].as_str().expect("an id"));
        for answer in [
            site.get(&path, &ben).await,
            site.get(&format!("{path}/events"), &ben).await,
            site.act(&format!("{path}/cancel"), &ben).await,
            site.act(&format!("{path}/retry"), &ben).await,
        ] {
            assert_eq!(answer.problem(404), "not-found");
        }
    }
    site.close().await;
}

#[tokio::test]
async fn subjects_narrow_what_is_read_and_written() {
    let site = Site::open().await;
    let body = json!({"name": "notes", "scopes": "jobs:write jobs:read:all events:publish events:read", "subjects": ["note/*"]});
    let notes = site.key_of("acme", body).await;
    let operator = site.operator("acme");
    let page_job = site.enqueue(&operator, json!({"type": "a", "subject": "page/1"})).await;
    site.enqueue(&notes, json!({"type": "a", "subject": "note/1"})).await;
    for body in [json!({"type": "a", "subject": "page/1"}), json!({"type": "a"})] {
        assert_eq!(site.post("/api/v1/jobs", &notes, &body).await.problem(403), "forbidden");
        assert_eq!(site.post("/api/v1/events", &notes, &body).await.problem(403), "forbidden");
    }
    let listed = site.get("/api/v1/jobs", &notes).await.ok(200);
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(1));
    let path = format!("/api/v1/jobs/{}", page_job["id"].as_str().expect("an id"));
    assert_eq!(site.get(&path, &notes).await.problem(404), "not-found");
    let seen = site.get("/api/v1/events", &notes).await.ok(200);
    assert_eq!(seen["events"].as_array().map(Vec::len), Some(1));
    site.close().await;
}

#[tokio::test]
async fn raw_errors_are_for_holders_of_detail() {
    let site = Site::open().await;
    let operator = site.operator("acme");
    let reader = site.key("acme", None, "jobs:read:all").await;
    let job = site.enqueue(&operator, json!({"type": "a", "max_attempts": 1})).await;
    let lease = site.lease(&operator, "a").await;
    let secret = "SELECT * FROM users WHERE mail = 'ana@example.com'";
    let body = json!({"error": secret, "category": "database"});
    site.post(&format!("/api/v1/leases/{lease}/fail"), &operator, &body).await.ok(200);
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().expect("an id"));
    let shown = site.get(&path, &reader).await;
    assert_eq!(shown.ok(200)["error"]["category"], "database");
    assert!(!String::from_utf8_lossy(&shown.body).contains("ana@example.com"));
    assert_eq!(site.get(&path, &operator).await.ok(200)["error"]["raw"], secret);
    site.close().await;
}

#[tokio::test]
async fn what_is_asked_for_by_its_path_alone_takes_no_body() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let job = site.enqueue(&who, json!({"type": "a"})).await;
    let path = |what: &str| format!("/api/v1/jobs/{}/{what}", job["id"].as_str().expect("an id"));
    for what in ["cancel", "retry"] {
        let answer = site.post(&path(what), &who, &json!({"payload": 1})).await;
        assert_eq!(answer.problem(422), "invalid-body", "{what}");
    }
    assert_eq!(site.post(&path("cancel"), &who, &json!({})).await.ok(200)["state"], "cancelled");
    site.act(&path("retry"), &who).await.ok(201);
    site.close().await;
}
