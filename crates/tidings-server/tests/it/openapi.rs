use http::Method;
use serde_json::{Value, json};

use crate::site::Site;

/// The schema's properties.
fn properties(document: &Value, name: &str) -> Vec<String> {
    let schema = &document["components"]["schemas"][name];
    schema["properties"].as_object().unwrap_or_else(|| panic!("no schema {name}")).keys().cloned().collect()
}

fn assert_described(document: &Value, name: &str, shown: &Value) {
    let known = properties(document, name);
    for key in shown.as_object().expect("an object").keys() {
        assert!(known.contains(key), "{name} has {key}, which its schema does not");
    }
}

#[tokio::test]
async fn the_document_describes_what_is_answered() {
    let site = Site::open().await;
    let answer = site.send(Method::GET, "/api/v1/openapi.json", None, &[], None).await;
    let document = answer.ok(200);
    let who = site.operator("acme");
    let body = json!({"type": "a", "owner": "ana", "subject": "s", "unique_key": "k", "max_attempts": 1});
    let job = site.enqueue(&who, body).await;
    assert_described(&document, "Job", &job);
    let lease = site.lease(&who, "a").await;
    site.post(&format!("/api/v1/leases/{lease}/progress"), &who, &json!({"percent": 1, "message": "m"}))
        .await
        .ok(200);
    let failed =
        site.post(&format!("/api/v1/leases/{lease}/fail"), &who, &json!({"error": "x"})).await.ok(200);
    assert_described(&document, "Job", &failed);
    let shown = site.get(&format!("/api/v1/jobs/{}", job["id"].as_str().expect("an id")), &who).await.ok(200);
    assert_described(&document, "Job", &shown);
    let page = site.get("/api/v1/events", &who).await.ok(200);
    assert_described(&document, "EventPage", &page);
    assert_described(&document, "Event", &page["events"][0]);
    let tenant = site.get("/api/v1/tenants/acme", &site.admin()).await.ok(200);
    assert_described(&document, "Tenant", &tenant);
    let key = site
        .post("/api/v1/keys", &who, &json!({"name": "k", "scopes": "events:read", "user": "u"}))
        .await
        .ok(201);
    assert_described(&document, "NewKey", &key);
    let keys = site.get("/api/v1/keys", &who).await.ok(200);
    assert_described(&document, "Key", &keys["keys"][0]);
    let body = json!({"name": "n", "cron": "@daily", "job": {"type": "a", "owner": "ana", "subject": "s"}});
    let schedule = site.post("/api/v1/schedules", &who, &body).await.ok(201);
    assert_described(&document, "Schedule", &schedule);
    assert_described(&document, "ScheduledJob", &schedule["job"]);
    let gone = site.get("/api/v1/events?since=99", &who).await;
    gone.problem(410);
    assert_described(&document, "Problem", &gone.json());
    site.close().await;
}

#[tokio::test]
async fn every_operation_says_how_it_refuses() {
    let site = Site::open().await;
    let document = site.send(Method::GET, "/api/v1/openapi.json", None, &[], None).await.ok(200);
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let refused = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"];
            assert_eq!(refused["$ref"], "#/components/schemas/Problem", "{method} {path}");
            operations += 1;
        }
    }
    assert!(operations > 25, "{operations}");
    site.close().await;
}

#[tokio::test]
async fn what_may_be_any_json_is_described_so() {
    let site = Site::open().await;
    let document = site.send(Method::GET, "/api/v1/openapi.json", None, &[], None).await.ok(200);
    let schemas = &document["components"]["schemas"];
    for (name, field) in [
        ("EnqueueRequest", "payload"),
        ("ScheduledJobRequest", "payload"),
        ("ScheduledJob", "payload"),
        ("CompleteRequest", "result"),
    ] {
        let schema = &schemas[name]["properties"][field];
        assert!(
            schema.is_object() && schema["type"].is_null() && schema["oneOf"].is_null(),
            "{name}: {schema}"
        );
    }
    let tenants = format!("{}{}", schemas["KeyRequest"]["properties"]["tenants"], schemas["Reach"]);
    assert_eq!(schemas["EveryTenant"]["enum"], json!(["all"]));
    for part in ["/Reach\"", "\"array\"", "/EveryTenant\""] {
        assert!(tenants.contains(part), "no {part} in {tenants}");
    }
    site.close().await;
}
