use serde_json::json;

use crate::site::Site;

#[tokio::test]
async fn a_suspended_tenant_neither_reads_nor_writes_until_it_is_resumed() {
    let site = Site::open().await;
    let admin = site.admin();
    let made = site.post("/api/v1/tenants", &admin, &json!({"id": "acme"})).await.ok(201);
    assert_eq!(site.post("/api/v1/tenants", &admin, &json!({"id": "acme"})).await.ok(200), made);
    let operator = site.operator("acme");
    site.enqueue(&operator, json!({"type": "a"})).await;
    let lease = site.lease(&operator, "a").await;
    assert_eq!(site.act("/api/v1/tenants/acme/suspend", &admin).await.ok(200)["state"], "suspended");
    for answer in [
        site.get("/api/v1/jobs", &operator).await,
        site.get("/api/v1/events", &operator).await,
        site.post("/api/v1/jobs", &operator, &json!({"type": "a"})).await,
        site.post("/api/v1/events", &operator, &json!({"type": "a"})).await,
        site.act(&format!("/api/v1/leases/{lease}/heartbeat"), &operator).await,
    ] {
        assert_eq!(answer.problem(403), "tenant-suspended");
    }
    assert_eq!(site.act("/api/v1/tenants/acme/resume", &admin).await.ok(200)["state"], "active");
    site.act(&format!("/api/v1/leases/{lease}/complete"), &operator).await.ok(200);
    site.close().await;
}

#[tokio::test]
async fn a_deleted_tenant_is_gone_and_made_again_has_another_history() {
    let site = Site::open().await;
    let (admin, operator) = (site.admin(), site.operator("acme"));
    let key = site.key("acme", None, "jobs:read:all").await;
    let job = site.enqueue(&operator, json!({"type": "a"})).await;
    let page = site.get("/api/v1/events", &operator).await.ok(200);
    let cursor = page["next"].as_str().expect("a cursor").to_owned();
    site.delete("/api/v1/tenants/acme", &admin).await.ok(204);
    assert_eq!(site.delete("/api/v1/tenants/acme", &admin).await.problem(404), "not-found");
    assert_eq!(site.get("/api/v1/jobs", &key).await.problem(401), "unauthorized");
    let again = site.enqueue(&operator, json!({"type": "a"})).await;
    assert_eq!(again["seq"], 1);
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().expect("an id"));
    assert_eq!(site.get(&path, &operator).await.problem(404), "not-found");
    let gone = site.get(&format!("/api/v1/events?since={cursor}"), &operator).await;
    assert_eq!(gone.problem(410), "cursor-gone");
    assert_eq!(gone.json()["reason"], "epoch");
    site.close().await;
}

#[tokio::test]
async fn a_renewed_epoch_answers_old_cursors() {
    let site = Site::open().await;
    let operator = site.operator("acme");
    site.enqueue(&operator, json!({"type": "a"})).await;
    let before = site.get("/api/v1/tenants/acme", &site.admin()).await.ok(200);
    let after = site.act("/api/v1/tenants/acme/renew-epoch", &site.admin()).await.ok(200);
    assert_ne!(before["epoch"], after["epoch"]);
    assert_eq!(before["head"], after["head"]);
    let old = format!("/api/v1/events?since={}:1", before["epoch"].as_str().expect("an epoch"));
    assert_eq!(site.get(&old, &operator).await.problem(410), "cursor-gone");
    site.close().await;
}

#[tokio::test]
async fn tenants_are_the_operators_alone() {
    let site = Site::open().await;
    for id in ["b", "a", "c"] {
        site.post("/api/v1/tenants", &site.admin(), &json!({"id": id})).await.ok(201);
    }
    let page = site.get("/api/v1/tenants?limit=2", &site.admin()).await.ok(200);
    assert_eq!(
        (&page["tenants"][0]["id"], &page["tenants"][1]["id"], &page["next"]),
        (&json!("a"), &json!("b"), &json!("b"))
    );
    let rest = site.get("/api/v1/tenants?limit=2&cursor=b", &site.admin()).await.ok(200);
    assert_eq!(rest["tenants"].as_array().map(Vec::len), Some(1));
    let tenant = site.key("a", None, "keys:manage jobs:read:all jobs:write").await;
    for path in ["/api/v1/tenants", "/api/v1/tenants/a", "/api/v1/tenants/nowhere"] {
        assert_eq!(site.get(path, &tenant).await.problem(403), "forbidden");
    }
    assert_eq!(site.get("/api/v1/tenants/nowhere", &site.admin()).await.problem(404), "not-found");
    site.close().await;
}
