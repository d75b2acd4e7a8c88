use serde_json::json;

use crate::site::{As, Site};

#[tokio::test]
async fn a_keys_secret_is_shown_once_and_it_counts_until_it_is_revoked() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let body = json!({"name": "ci", "scopes": ["jobs:write", "jobs:read:all"], "expires_in": "90d"});
    let made = site.post("/api/v1/keys", &who, &body).await.ok(201);
    let key = As::bearer(made["key"].as_str().expect("a key"));
    site.enqueue(&key, json!({"type": "a"})).await;
    let path = format!("/api/v1/keys/{}", made["id"].as_str().expect("an id"));
    let shown = site.get(&path, &who).await;
    let secret = key.token().rsplit('_').next().expect("a secret");
    assert!(!String::from_utf8_lossy(&shown.body).contains(secret));
    assert_eq!(shown.ok(200)["scopes"], json!(["jobs:read:all", "jobs:write"]));
    let listed = site.get("/api/v1/keys", &who).await.ok(200);
    assert_eq!(listed["keys"].as_array().map(Vec::len), Some(1));
    site.delete(&path, &who).await.ok(204);
    assert_eq!(site.get("/api/v1/jobs", &key).await.problem(401), "unauthorized");
    assert!(site.get(&path, &who).await.ok(200)["revoked_at"].is_string());
    site.delete(&path, &who).await.ok(204);
    site.close().await;
}

#[tokio::test]
async fn a_key_carries_at_most_what_its_maker_does() {
    let site = Site::open().await;
    let body = json!({"name": "m", "scopes": "keys:manage jobs:read:own", "user": "ana"});
    let maker = site.key_of("acme", body).await;
    let own = json!({"name": "x", "scopes": "jobs:read:own", "user": "ana"});
    site.post("/api/v1/keys", &maker, &own).await.ok(201);
    for wider in [
        json!({"name": "x", "scopes": "jobs:read:all", "user": "ana"}),
        json!({"name": "x", "scopes": "jobs:read:own", "user": "ben"}),
        json!({"name": "x", "scopes": "jobs:read:own"}),
    ] {
        assert_eq!(site.post("/api/v1/keys", &maker, &wider).await.problem(403), "forbidden", "{wider}");
    }
    for odd in [
        json!({"name": "x", "scopes": "jobs:read:own", "user": "ana", "tenants": "all"}),
        json!({"name": "x", "scopes": "jobs:read:own system:admin", "user": "ana"}),
        json!({"name": "x", "scopes": []}),
        json!({"name": "x", "scopes": "jobs:read:own", "expires_in": "0s"}),
    ] {
        assert_eq!(site.post("/api/v1/keys", &maker, &odd).await.problem(422), "invalid-body", "{odd}");
    }
    // What is wider than one's own is not even there.
    let wide = site
        .post("/api/v1/keys", &site.operator("acme"), &json!({"name": "w", "scopes": "jobs:read:all"}))
        .await
        .ok(201);
    let path = format!("/api/v1/keys/{}", wide["id"].as_str().expect("an id"));
    assert_eq!(site.get(&path, &maker).await.problem(404), "not-found");
    assert_eq!(site.delete(&path, &maker).await.problem(404), "not-found");
    site.close().await;
}

#[tokio::test]
async fn a_key_for_several_tenants_carries_nothing_that_would_be_of_no_use() {
    let site = Site::open().await;
    for tenants in [json!("all"), json!(["acme"]), json!(["acme", "beta"])] {
        let body = |scopes: &str| json!({"name": "fleet", "scopes": scopes, "tenants": tenants});
        for scopes in ["events:read", "jobs:work jobs:write", "jobs:work keys:manage"] {
            let refused = site.post("/api/v1/keys", &site.admin(), &body(scopes)).await;
            assert_eq!(refused.json()["path"], "$.scopes", "{scopes}");
            assert_eq!(refused.problem(422), "invalid-body", "{scopes}");
        }
        site.post("/api/v1/keys", &site.admin(), &body("jobs:work")).await.ok(201);
    }
    let narrowed = json!({"name": "operator", "scopes": "system:admin", "tenants": ["acme"]});
    let refused = site.post("/api/v1/keys", &site.admin(), &narrowed).await;
    assert_eq!(refused.problem(422), "invalid-body");
    assert_eq!(refused.json()["path"], "$.tenants");
    // An operator names its tenant, and so can do everything there.
    let body = json!({"name": "operator", "scopes": "system:admin jobs:read:all", "tenants": "all"});
    let made = site.post("/api/v1/keys", &site.admin(), &body).await.ok(201);
    let operator = As::bearer(made["key"].as_str().expect("a key")).naming("acme");
    site.get("/api/v1/jobs", &operator).await.ok(200);
    site.close().await;
}

#[tokio::test]
async fn an_operators_keys_belong_to_no_tenant() {
    let site = Site::open().await;
    let body = json!({"name": "fleet", "scopes": "jobs:work"});
    assert_eq!(site.post("/api/v1/keys", &site.admin(), &body).await.problem(400), "tenant-required");
    let body = json!({"name": "fleet", "scopes": "jobs:work", "tenants": "all"});
    let made = site.post("/api/v1/keys", &site.admin(), &body).await.ok(201);
    let path = format!("/api/v1/keys/{}", made["id"].as_str().expect("an id"));
    assert_eq!(site.get(&path, &site.operator("acme")).await.problem(404), "not-found");
    let listed = site.get("/api/v1/keys", &site.admin()).await.ok(200);
    let names: Vec<_> = listed["keys"].as_array().expect("keys").iter().map(|k| k["name"].clone()).collect();
    assert_eq!(names, ["fleet", "administrator"]);
    site.delete(&path, &site.admin()).await.ok(204);
    let fleet = As::bearer(made["key"].as_str().expect("a key"));
    let wanted = json!({"worker": "w", "types": ["a"]});
    assert_eq!(site.post("/api/v1/leases", &fleet, &wanted).await.problem(401), "unauthorized");
    site.close().await;
}
