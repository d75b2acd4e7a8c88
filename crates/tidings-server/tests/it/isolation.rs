//! Two tenants run every operation against each other's ids: the answer is that of an id that never was.

use http::Method;
use serde_json::{Value, json};

use crate::site::{Answer, As, Site};

const NOWHERE: &str = "019ab0c4-0000-7000-8000-000000000000";

struct Ids {
    job: String,
    finished: String,
    lease: String,
    key: String,
    schedule: String,
}

async fn furnish(site: &Site, tenant: &str) -> Ids {
    let who = site.operator(tenant);
    let text = |value: &Value| value["id"].as_str().expect("an id").to_owned();
    let finished = text(&site.enqueue(&who, json!({"type": "done"})).await);
    site.act(&format!("/api/v1/jobs/{finished}/cancel"), &who).await.ok(200);
    let job = text(&site.enqueue(&who, json!({"type": "a", "unique_key": "same"})).await);
    site.enqueue(&who, json!({"type": "b"})).await;
    let lease = site.lease(&who, "b").await;
    let key =
        text(&site.post("/api/v1/keys", &who, &json!({"name": "k", "scopes": "events:read"})).await.ok(201));
    // Each tenant's own name, so that the other's is one that never was.
    let schedule = format!("nightly-{tenant}");
    let body = json!({"name": schedule, "cron": "@yearly", "job": {"type": "a"}});
    site.post("/api/v1/schedules", &who, &body).await.ok(201);
    Ids { job, finished, lease, key, schedule }
}

/// Every operation that takes an id.
fn operations(ids: &Ids) -> Vec<(Method, String, Option<String>)> {
    let Ids { job, finished, lease, key, schedule } = ids;
    let post = |path: String, body: &str| (Method::POST, path, (!body.is_empty()).then(|| body.to_owned()));
    let mut all = vec![
        (Method::GET, format!("/api/v1/jobs/{job}"), None),
        (Method::GET, format!("/api/v1/jobs/{job}/events"), None),
        post(format!("/api/v1/jobs/{job}/cancel"), ""),
        post(format!("/api/v1/jobs/{finished}/cancel"), ""),
        post(format!("/api/v1/jobs/{finished}/retry"), ""),
        post(format!("/api/v1/jobs/{job}/retry"), ""),
        (Method::GET, format!("/api/v1/keys/{key}"), None),
        (Method::DELETE, format!("/api/v1/keys/{key}"), None),
        (Method::GET, format!("/api/v1/schedules/{schedule}"), None),
        post(format!("/api/v1/schedules/{schedule}/pause"), ""),
        post(format!("/api/v1/schedules/{schedule}/resume"), ""),
        post(format!("/api/v1/schedules/{schedule}/trigger"), ""),
        (Method::DELETE, format!("/api/v1/schedules/{schedule}"), None),
    ];
    for (report, body) in [
        ("heartbeat", ""),
        ("progress", r#"{"percent":1}"#),
        ("complete", "{}"),
        ("fail", r#"{"error":"x"}"#),
        ("release", ""),
    ] {
        all.push(post(format!("/api/v1/leases/{lease}/{report}"), body));
    }
    all
}

async fn ask(site: &Site, who: &As, (method, path, body): &(Method, String, Option<String>)) -> Answer {
    site.send(method.clone(), path, Some(who), &[], body.as_deref()).await
}

#[tokio::test]
async fn another_tenants_ids_are_ids_that_never_were() {
    let site = Site::open().await;
    let (acme, beta) = (furnish(&site, "acme").await, furnish(&site, "beta").await);
    let all = "jobs:read:all jobs:write jobs:work events:read events:detail keys:manage";
    let intruders = [
        site.key("beta", None, all).await,
        site.key("beta", Some("u"), &format!("{all} jobs:read:own")).await,
    ];
    let never = Ids {
        job: NOWHERE.into(),
        finished: NOWHERE.into(),
        lease: format!("acme~{NOWHERE}~1"),
        key: NOWHERE.into(),
        schedule: "never".into(),
    };
    let unread = Ids {
        job: "x".into(),
        finished: "%20".into(),
        lease: "acme~x~1".into(),
        key: "..".into(),
        schedule: "-Nightly".into(),
    };
    for who in intruders.iter().chain([&site.operator("beta")]) {
        let foreign = operations(&acme);
        for (n, operation) in foreign.iter().enumerate() {
            let theirs = ask(&site, who, operation).await;
            assert_eq!(theirs.problem(404), "not-found", "{operation:?}");
            for other in [&never, &unread] {
                let nothing = ask(&site, who, &operations(other)[n]).await;
                assert_eq!(theirs.essence(), nothing.essence(), "{operation:?}");
            }
        }
    }
    // Nothing of it did anything, and to their own tenant the ids are there.
    for (tenant, ids) in [("acme", &acme), ("beta", &beta)] {
        let who = site.operator(tenant);
        for operation in operations(ids) {
            let answer = ask(&site, &who, &operation).await;
            assert_ne!(answer.status, 404, "{operation:?}");
        }
    }
    site.close().await;
}

#[tokio::test]
async fn lists_logs_and_claims_hold_nothing_of_another_tenant() {
    let site = Site::open().await;
    for tenant in ["acme", "beta"] {
        let who = site.operator(tenant);
        site.enqueue(&who, json!({"type": "a", "payload": tenant, "unique_key": "k", "owner": "ana"})).await;
        site.post("/api/v1/events", &who, &json!({"type": "note", "data": tenant})).await.ok(201);
        site.key(tenant, Some("ana"), "events:read").await;
        let schedule = json!({"name": "nightly", "cron": "@yearly", "job": {"type": "a", "payload": tenant}});
        site.post("/api/v1/schedules", &who, &schedule).await.ok(201);
    }
    let scopes = "jobs:read:all jobs:work events:read events:detail keys:manage";
    let who = site.key("beta", None, scopes).await;
    for path in [
        "/api/v1/jobs",
        "/api/v1/events?verbosity=detail",
        "/api/v1/keys",
        "/api/v1/queues",
        "/api/v1/schedules",
    ] {
        let answer = site.get(path, &who).await;
        answer.ok(200);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("acme"), "{path}: {text}");
    }
    let page = site.get("/api/v1/events", &who).await.ok(200);
    assert_eq!(
        (&page["head"], &page["events"][0]["seq"]),
        (&json!(2), &json!(1)),
        "each tenant counts for itself"
    );
    let wanted = json!({"worker": "w", "types": ["a"], "max": 10});
    let leases = site.post("/api/v1/leases", &who, &wanted).await.ok(200);
    let leases = leases["leases"].as_array().expect("leases");
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0]["job"]["payload"], "beta");
    site.close().await;
}
