use http::Method;
use serde_json::json;
use tidings_auth::{ExposeSecret as _, KeyRequest};
use tidings_core::{CredentialId, Grant, KeyId, Principal, ScopeSet, TenantId, Tenants};
use tidings_store::Command;

use crate::site::{Answer, As, Site, configured};

const ROUTES: [(&str, &str); 22] = [
    ("POST", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs/x"),
    ("GET", "/api/v1/jobs/x/events"),
    ("POST", "/api/v1/jobs/x/cancel"),
    ("POST", "/api/v1/jobs/x/retry"),
    ("POST", "/api/v1/leases"),
    ("POST", "/api/v1/leases/x/heartbeat"),
    ("POST", "/api/v1/leases/x/complete"),
    ("GET", "/api/v1/queues"),
    ("POST", "/api/v1/events"),
    ("GET", "/api/v1/events"),
    ("GET", "/api/v1/ws"),
    ("POST", "/api/v1/tickets"),
    ("POST", "/api/v1/keys"),
    ("GET", "/api/v1/keys"),
    ("DELETE", "/api/v1/keys/x"),
    ("POST", "/api/v1/tenants"),
    ("GET", "/api/v1/tenants/x"),
    ("DELETE", "/api/v1/tenants/x"),
    ("POST", "/api/v1/tenants/x/suspend"),
    ("POST", "/api/v1/leases/x/progress"),
];

#[tokio::test]
async fn without_a_credential_every_route_gives_the_same_answer() {
    let site = Site::open().await;
    let forged = format!("Bearer tdk_{}_{}", "0".repeat(32), "A".repeat(43));
    let mut answers = Vec::new();
    for (method, path) in ROUTES {
        for authorization in
            [None, Some("Bearer nonsense"), Some("Basic dTpw"), Some("Bearer a.b.c"), Some(&forged)]
        {
            let method: Method = method.parse().expect("a method");
            let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
            let answer = site.send(method, path, None, &headers, Some("{")).await;
            assert_eq!(answer.problem(401), "unauthorized", "{path}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
            answers.push(answer.essence());
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    site.close().await;
}

#[tokio::test]
async fn a_missing_scope_is_told_before_anything_is_looked_up() {
    let site = Site::open().await;
    let reader = site.key("acme", None, "events:read").await;
    for (method, path) in ROUTES {
        if path == "/api/v1/events" && method == "GET" || path.ends_with("/ws") || path.ends_with("/tickets")
        {
            continue;
        }
        let method: Method = method.parse().expect("a method");
        let answer = site.send(method, path, Some(&reader), &[], Some("{")).await;
        assert_eq!(answer.problem(403), "forbidden", "{path}");
    }
    site.close().await;
}

#[tokio::test]
async fn only_an_operator_names_its_tenant_and_it_must() {
    let site = Site::open().await;
    let operator = site.operator("acme");
    site.get("/api/v1/jobs", &operator).await.ok(200);
    assert_eq!(site.get("/api/v1/jobs", &site.admin()).await.problem(400), "tenant-required");
    assert_eq!(site.get("/api/v1/jobs", &operator.naming("No Tenant")).await.problem(400), "bad-parameter");
    let own = site.key("acme", None, "jobs:read:all jobs:work").await;
    site.get("/api/v1/jobs", &own).await.ok(200);
    for path in ["/api/v1/jobs", "/api/v1/queues"] {
        for tenant in ["acme", "other"] {
            assert_eq!(site.get(path, &own.naming(tenant)).await.problem(403), "forbidden");
        }
    }
    let body = json!({"worker": "w", "types": ["a"]});
    assert_eq!(site.post("/api/v1/leases", &own.naming("acme"), &body).await.problem(403), "forbidden");
    site.close().await;
}

#[tokio::test]
async fn a_worker_key_for_several_tenants_claims_and_reports_and_does_nothing_else() {
    let site = Site::open().await;
    let body = json!({"name": "fleet", "scopes": "jobs:work", "tenants": ["acme", "beta"]});
    let made = site.post("/api/v1/keys", &site.admin(), &body).await.ok(201);
    assert_eq!(made["tenants"], json!({"set": ["acme", "beta"]}));
    let fleet = credential(&made);
    let wide = earlier_key(&site, &["acme", "beta"], "jobs:work jobs:read:all events:read keys:manage").await;
    for tenant in ["acme", "beta", "gamma"] {
        site.enqueue(&site.operator(tenant), json!({"type": "a"})).await;
    }
    let wanted = json!({"worker": "w", "types": ["a"], "max": 10});
    let leases = site.post("/api/v1/leases", &fleet, &wanted).await.ok(200);
    let leases = leases["leases"].as_array().expect("leases");
    let mut tenants: Vec<_> =
        leases.iter().map(|l| l["job"]["tenant_id"].as_str().expect("a tenant")).collect();
    tenants.sort_unstable();
    assert_eq!(tenants, ["acme", "beta"]);
    for lease in leases {
        let lease = lease["lease"].as_str().expect("a token");
        site.act(&format!("/api/v1/leases/{lease}/heartbeat"), &fleet).await.ok(200);
        site.post(&format!("/api/v1/leases/{lease}/complete"), &fleet, &json!({})).await.ok(200);
    }
    let elsewhere = site.lease(&site.operator("gamma"), "a").await;
    let answer = site.act(&format!("/api/v1/leases/{elsewhere}/heartbeat"), &fleet).await;
    assert_eq!(answer.problem(404), "not-found");
    for path in ["/api/v1/jobs", "/api/v1/events", "/api/v1/keys", "/api/v1/queues"] {
        assert_eq!(site.get(path, &fleet).await.problem(403), "forbidden", "{path}");
        assert_eq!(site.get(path, &wide).await.problem(403), "forbidden", "{path}");
    }
    site.close().await;
}

/// A key that an earlier version made: this one refuses its scopes.
async fn earlier_key(site: &Site, tenants: &[&str], scopes: &str) -> As {
    let grant = |tenants, scopes| Grant { tenants, user: None, scopes, subjects: None };
    let operator = Principal {
        grant: grant(Tenants::All, ScopeSet::all()),
        expires_at: None,
        credential: CredentialId::Key(KeyId::from_bytes([0; 16])),
    };
    let tenants: Vec<TenantId> = tenants.iter().map(|id| id.parse().expect("a tenant id")).collect();
    let grant = grant(Tenants::Set(tenants.into()), scopes.parse().expect("scopes"));
    let request = KeyRequest { name: "fleet".into(), grant, expires_at: None };
    let (key, secret) = site.app.authenticator().new_key(&operator, request).expect("an operator may");
    site.app.journal().submit(Command::PutOperatorKey(key)).await.expect("it is put");
    As::bearer(secret.expose_secret())
}

#[tokio::test]
async fn where_tenants_are_made_by_operators_alone_others_find_nothing() {
    let site = Site::with(&["tenants.create=explicit"]).await;
    assert_eq!(site.get("/api/v1/jobs", &site.operator("acme")).await.problem(404), "not-found");
    let answer = site.post("/api/v1/jobs", &site.operator("acme"), &json!({"type": "a"})).await;
    assert_eq!(answer.problem(404), "not-found");
    site.post("/api/v1/tenants", &site.admin(), &json!({"id": "acme"})).await.ok(201);
    site.enqueue(&site.operator("acme"), json!({"type": "a"})).await;
    site.close().await;
}

#[tokio::test]
async fn making_tenants_by_use_is_bounded() {
    let site = Site::open().await;
    let mut refused = 0;
    for n in 0..130 {
        let answer =
            site.post("/api/v1/events", &site.operator(&format!("t{n}")), &json!({"type": "x"})).await;
        if answer.status == 429 {
            assert_eq!(answer.problem(429), "rate-limited");
            assert_eq!(answer.json()["limit"], "limits.new_tenants");
            assert!(answer.headers.contains_key("retry-after"));
            refused += 1;
        } else {
            answer.ok(201);
        }
    }
    assert!(refused > 0);
    site.get("/api/v1/events", &site.operator("t999")).await.ok(200);
    site.app.reload(&configured(site.folder(), &["limits.new_tenants=off"])).expect("reloads");
    for n in 200..400 {
        site.post("/api/v1/events", &site.operator(&format!("t{n}")), &json!({"type": "x"})).await.ok(201);
    }
    site.close().await;
}

#[tokio::test]
async fn a_request_id_is_taken_over_where_it_is_sane() {
    let site = Site::open().await;
    let given = site.send(Method::GET, "/health", None, &[("x-request-id", "abc-1")], None).await;
    assert_eq!(given.headers["x-request-id"], "abc-1");
    let made = site.send(Method::GET, "/health", None, &[("x-request-id", "a b")], None).await;
    assert_ne!(made.headers["x-request-id"], "a b");
    let refused = site.send(Method::GET, "/nowhere", None, &[("x-request-id", "abc-2")], None).await;
    assert_eq!(refused.problem(404), "not-found");
    assert_eq!(refused.json()["request_id"], "abc-2");
    site.close().await;
}

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() {
    let site = Site::open().await;
    let answer = site.send(Method::PUT, "/api/v1/jobs", None, &[], None).await;
    assert_eq!(answer.problem(405), "method-not-allowed");
    let allow = answer.headers["allow"].to_str().expect("text");
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    site.close().await;
}

#[tokio::test]
async fn pages_of_configured_origins_may_call_and_others_may_not() {
    let site = Site::with(&["cors.origins=https://app.example.com"]).await;
    let preflight = |origin: &'static str| {
        [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization"),
        ]
    };
    let good = preflight("https://app.example.com");
    let answer = site.send(Method::OPTIONS, "/api/v1/jobs", None, &good, None).await;
    answer.ok(200);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example.com");
    for evil in ["https://app.example.com.evil", "http://app.example.com", "null", "https://evil"] {
        let answer = site.send(Method::OPTIONS, "/api/v1/jobs", None, &preflight(evil), None).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{evil}");
        let answer = site.send(Method::GET, "/health", None, &[("origin", evil)], None).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{evil}");
    }
    let refused =
        site.send(Method::GET, "/api/v1/ws", None, &[("origin", "https://app.example.com")], None).await;
    assert_eq!(refused.problem(401), "unauthorized");
    assert_eq!(refused.headers["access-control-allow-origin"], "https://app.example.com");
    site.close().await;
}

#[tokio::test]
async fn pages_may_put_and_patch_and_learn_why_a_limit_refused_them() {
    const PAGE: (&str, &str) = ("origin", "https://app.example.com");
    let settings =
        ["cors.origins=https://app.example.com", "limits.requests_in_flight=1", "limits.upgrades_per_ip=1/s"];
    let site = Site::with(&settings).await;
    let preflight = [PAGE, ("access-control-request-method", "PATCH")];
    let answer = site.send(Method::OPTIONS, "/api/v1/webhooks/x", None, &preflight, None).await;
    let allowed = answer.headers["access-control-allow-methods"].to_str().expect("text");
    assert!(["GET", "POST", "PUT", "PATCH", "DELETE"].iter().all(|m| allowed.contains(m)), "{allowed}");
    // One request is being answered, and another comes.
    let who = site.operator("acme");
    let wait = json!({"worker": "w", "types": ["never"], "wait_s": 1});
    let waiting = site.post("/api/v1/leases", &who, &wait);
    let (_, busy) = tokio::join!(waiting, site.send(Method::GET, "/api/v1/jobs", Some(&who), &[PAGE], None));
    assert_eq!(busy.problem(503), "busy");
    let peer: std::net::SocketAddr = "192.0.2.1:5".parse().expect("an address");
    let mut begun = Vec::new();
    for _ in 0..3 {
        let mut request = axum::extract::Request::get("/api/v1/ws").header(PAGE.0, PAGE.1);
        request.extensions_mut().expect("a request").insert(axum::extract::ConnectInfo(peer));
        let request = request.body(axum::body::Body::empty()).expect("a request");
        begun.push(Answer::of(site.raw(request).await).await);
    }
    assert_eq!(begun[2].problem(429), "rate-limited");
    for refused in [&busy, &begun[2]] {
        assert_eq!(refused.headers["access-control-allow-origin"], "https://app.example.com");
        let shown = refused.headers["access-control-expose-headers"].to_str().expect("text");
        assert!(shown.contains("retry-after") && refused.headers.contains_key("retry-after"), "{shown}");
    }
    let _ = site.send(Method::PUT, "/api/v1/schedules/x", None, &[], None).await;
    let _ = site.send(Method::PATCH, "/api/v1/webhooks/x", None, &[], None).await;
    let scraped = site.app.scrape();
    for method in ["PUT", "PATCH"] {
        assert!(scraped.contains(&format!("method=\"{method}\"")), "{scraped}");
    }
    site.close().await;
}

fn credential(made: &serde_json::Value) -> As {
    As::bearer(made["key"].as_str().expect("a key"))
}
