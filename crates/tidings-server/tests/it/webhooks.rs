use http::Method;
use serde_json::{Value, json};
use tidings_core::{
    EndpointId, EventId, EventType, Seq, TenantId, Timestamp,
    webhook::{Attempt, AttemptFailure, Delivery, DeliveryState, DisabledReason, Format},
};
use tidings_store::{Command, Operation, Report};

use crate::{
    cluster::until,
    site::{As, Site},
};

const URL: &str = "https://93.184.216.34/hook";

async fn make(site: &Site, who: &As, body: &Value) -> Value {
    site.post("/api/v1/webhooks", who, body).await.ok(201)
}

fn path(endpoint: &Value) -> String {
    format!("/api/v1/webhooks/{}", endpoint["id"].as_str().expect("an id"))
}

async fn patch(site: &Site, who: &As, path: &str, body: &Value) -> crate::site::Answer {
    site.send(Method::PATCH, path, Some(who), &[], Some(&body.to_string())).await
}

async fn publish(site: &Site, who: &As, count: usize) {
    let events: Vec<_> = (0..count).map(|n| json!({"type": "note.created", "data": n})).collect();
    site.post("/api/v1/events", who, &json!(events)).await.ok(201);
}

/// What a dispatcher would say of an endpoint that has been changed so often.
async fn say(site: &Site, endpoint: &Value, changes: u64, change: impl FnOnce(&mut Report)) {
    let id: EndpointId = endpoint["id"].as_str().expect("an id").parse().expect("an id");
    let mut report = Report::new(id, 1 + changes);
    change(&mut report);
    let tenant = TenantId::new("acme").expect("valid");
    let operation = Operation::Report(Box::new(report));
    site.app.journal().submit(Command::Tenant { tenant, create: false, operation }).await.expect("reported");
}

fn attempt(seq: u64, failure: Option<AttemptFailure>) -> Attempt {
    Attempt {
        seq: Seq::new(seq),
        event: EventId::from_bytes([seq as u8; 16]),
        number: 1,
        at: Timestamp::from_secs(1_800_000_000),
        latency: std::time::Duration::from_millis(12),
        status: failure.is_none().then_some(200),
        request_bytes: 10,
        answer_bytes: 2,
        answer: b"ok".to_vec().into(),
        failure,
        next_at: None,
    }
}

fn dead(seq: u64) -> Delivery {
    let at = Timestamp::from_secs(1_800_000_000);
    Delivery {
        seq: Seq::new(seq),
        event: EventId::from_bytes([seq as u8; 16]),
        event_type: EventType::parse("note.created").expect("valid"),
        state: DeliveryState::Dead { attempts: 4, at, failure: AttemptFailure::Status },
        body: Some(br#"{"seq":1}"#.to_vec().into()),
        format: Format::Standard,
    }
}

#[tokio::test]
async fn an_endpoints_secret_is_shown_once_and_what_it_was_given_always() {
    let site = Site::open().await;
    let who = site.operator("acme");
    publish(&site, &who, 2).await;
    let given = json!({
        "url": URL, "description": "orders", "filter": {"types": ["job.*"], "subject": ["note/*"]},
        "verbosity": "detail", "format": "cloudevents", "ordered": true, "headers": {"x-team": "eu"},
        "metadata": {"plan": "gold"}, "concurrency": 1, "rate": "10/s", "timeout": "5s", "retries": ["1m"],
        "jitter": 0, "probe": false
    });
    let made = make(&site, &who, &given).await;
    for (name, value) in given.as_object().expect("an object") {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!((&made["state"], &made["cursor"]), (&json!("active"), &json!(2)));
    let secret = made["secret"].as_str().expect("a secret");
    assert!(secret.starts_with("whsec_"), "{secret}");
    let shown = site.get(&path(&made), &who).await;
    assert!(!String::from_utf8_lossy(&shown.body).contains(secret));
    let shown = shown.ok(200);
    assert_eq!(shown["secrets"][0]["kind"], "v1");
    assert_eq!(shown["backlog"], json!({"head": 2, "retrying": 0, "dead": 0}));
    let from_start = make(&site, &who, &json!({"url": URL, "since": 0, "secret_kind": "v1a"})).await;
    assert_eq!((&from_start["cursor"], &from_start["retries"]), (&json!(0), &json!("default")));
    assert!(from_start["secret"].as_str().is_some_and(|secret| secret.starts_with("whsk_")));
    assert!(from_start["secrets"][0]["public_key"].as_str().is_some_and(|key| key.starts_with("whpk_")));
    let listed = site.get("/api/v1/webhooks?limit=1", &who).await.ok(200);
    assert_eq!(listed["webhooks"][0]["id"], made["id"]);
    let next = format!("/api/v1/webhooks?cursor={}", listed["next"].as_str().expect("a cursor"));
    let listed = site.get(&next, &who).await.ok(200);
    assert_eq!(listed["webhooks"].as_array().map(Vec::len), Some(1));
    site.delete(&path(&made), &who).await.ok(204);
    assert_eq!(site.get(&path(&made), &who).await.problem(404), "not-found");
    site.close().await;
}

#[tokio::test]
async fn a_url_that_leads_inside_is_refused_at_once() {
    let site = Site::open().await;
    let who = site.operator("acme");
    for url in [
        "http://93.184.216.34/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://2130706433/",
        "https://10.0.0.1/",
        "https://localhost/",
        "https://93.184.216.34:22/",
        "https://user:pass@93.184.216.34/",
        "ftp://93.184.216.34/",
        "https://93.184.216.34/hook#part",
        "",
        "x",
    ] {
        let answer = site.post("/api/v1/webhooks", &who, &json!({"url": url})).await;
        assert_eq!(answer.problem(400), "url-refused", "{url}");
        assert_eq!(answer.json()["path"], "$.url");
    }
    let made = make(&site, &who, &json!({"url": URL})).await;
    let turned = patch(&site, &who, &path(&made), &json!({"url": "https://192.168.0.1/"})).await;
    assert_eq!(turned.problem(400), "url-refused");
    assert_eq!(site.get(&path(&made), &who).await.ok(200)["url"], URL);
    site.close().await;
    let site =
        Site::with(&["webhooks.allow_cidrs=[\"127.0.0.0/8\"]", "webhooks.endpoints_per_tenant=1"]).await;
    let who = site.operator("acme");
    make(&site, &who, &json!({"url": "http://127.0.0.1:8080/hook"})).await;
    let more = site.post("/api/v1/webhooks", &who, &json!({"url": "http://127.0.0.1:8080/hook"})).await;
    assert_eq!(more.problem(409), "limit-reached");
    assert_eq!(more.ok(409)["limit"], "webhooks.endpoints_per_tenant");
    let counted = "http_requests_limited_total{limit=\"webhooks.endpoints_per_tenant\"} 1";
    assert!(site.app.scrape().contains(counted), "{}", site.app.scrape());
    assert!(site.app.scrape().contains("http_requests_rejected_total{reason=\"limit-reached\"} 1"));
    assert!(more.json()["detail"].as_str().is_some_and(|detail| detail.contains("has 1 endpoints")));
    let metadata = site.post("/api/v1/webhooks", &who, &json!({"url": "http://169.254.169.254/"})).await;
    assert_eq!(metadata.problem(400), "url-refused");
    site.close().await;
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let site = Site::open().await;
    let who = site.operator("acme");
    for (body, path) in [
        (json!({}), "$.url"),
        (json!({"url": URL, "colour": 1}), "$.colour"),
        (json!({"url": URL, "concurrency": 0}), "$.concurrency"),
        (json!({"url": URL, "timeout": "31s"}), "$.timeout"),
        (json!({"url": URL, "description": "a\nb"}), "$.description"),
        (json!({"url": URL, "headers": {"x-a": "1", "X-A": "2"}}), "$.headers"),
        (json!({"url": URL, "filter": {"typs": []}}), "$.filter"),
        (json!({"url": URL, "filter": {"types": []}}), "$.filter"),
        (json!({"url": URL, "since": 1}), "$.since"),
        (json!({"url": URL, "since": 1_u64 << 53}), "$.since"),
        (json!({"url": URL, "headers": {"authorization": "x"}}), "$.headers"),
        (json!({"url": URL, "headers": {"x-a": "a\r\nb: c"}}), "$.headers"),
        (json!({"url": URL, "retries": "sometimes"}), "$.retries"),
        (json!({"url": URL, "filter": {"owner": "me"}}), "$.filter"),
        (json!({"url": URL, "secret_kind": "v2"}), "$.secret_kind"),
        (json!({"url": URL, "since": -1}), "$.since"),
    ] {
        let answer = site.post("/api/v1/webhooks", &who, &body).await;
        assert_eq!(answer.problem(422), "invalid-body", "{body}");
        assert_eq!(answer.json()["path"], path, "{}", answer.json());
    }
    site.close().await;
}

#[tokio::test]
async fn an_endpoint_carries_and_shows_no_more_than_its_creators_grant() {
    let site = Site::open().await;
    let ana = site.key("acme", Some("ana"), "webhooks:manage jobs:read:own events:read").await;
    let made = make(&site, &ana, &json!({"url": URL, "filter": {"owner": "me"}})).await;
    assert_eq!(made["grant"]["user"], "ana");
    assert_eq!(made["grant"]["scopes"], json!(["jobs:read:own", "events:read"]));
    assert_eq!(made["filter"], json!({"owner": ["ana"]}));
    let detail = site.post("/api/v1/webhooks", &ana, &json!({"url": URL, "verbosity": "detail"})).await;
    assert_eq!(detail.problem(422), "invalid-body");
    let wide = make(&site, &site.operator("acme"), &json!({"url": URL, "verbosity": "detail"})).await;
    assert_eq!(wide["grant"]["scopes"], json!(["jobs:read:all", "events:read", "events:detail"]));
    // What is wider than one's own is not even there: turned elsewhere it would be read.
    let turn = json!({"url": "https://93.184.216.35/"});
    assert_eq!(patch(&site, &ana, &path(&wide), &turn).await.problem(404), "not-found");
    for action in ["pause", "enable", "rotate-secret"] {
        let answer = site.act(&format!("{}/{action}", path(&wide)), &ana).await;
        assert_eq!(answer.problem(404), "not-found", "{action}");
    }
    let listed = site.get("/api/v1/webhooks", &ana).await.ok(200);
    assert_eq!(listed["webhooks"].as_array().map(Vec::len), Some(1));
    let blind = site.key("acme", None, "webhooks:manage").await;
    let answer = site.post("/api/v1/webhooks", &blind, &json!({"url": URL})).await;
    assert_eq!(answer.problem(403), "forbidden");
    let reader = site.key("acme", None, "events:read jobs:read:all").await;
    assert_eq!(site.get("/api/v1/webhooks", &reader).await.problem(403), "forbidden");
    site.close().await;
}

#[tokio::test]
async fn a_filter_that_the_grant_can_never_match_is_refused() {
    let site = Site::open().await;
    let key = site.key("acme", None, "webhooks:manage events:read").await;
    let asked = |types: &[&str]| json!({"url": URL, "filter": {"types": types}});
    let refused = site.post("/api/v1/webhooks", &key, &asked(&["job.*", "job.failed"])).await;
    assert_eq!((refused.problem(422), &refused.json()["path"]), ("invalid-body".into(), &json!("$.filter")));
    assert!(refused.json()["detail"].as_str().is_some_and(|detail| detail.contains("jobs:read:own")));
    make(&site, &key, &asked(&["job.*", "note.*"])).await;
    site.close().await;
}

#[tokio::test]
async fn another_tenants_endpoint_answers_as_one_that_never_was() {
    let site = Site::open().await;
    let made = make(&site, &site.operator("acme"), &json!({"url": URL})).await;
    publish(&site, &site.operator("other"), 1).await;
    let other = site.key("other", None, "webhooks:manage events:read jobs:read:all").await;
    let never = "/api/v1/webhooks/019ab0c4-0000-7000-8000-000000000000".to_owned();
    for (method, rest, body) in [
        (Method::GET, "", None),
        (Method::PATCH, "", Some("{}")),
        (Method::DELETE, "", None),
        (Method::POST, "/pause", None),
        (Method::POST, "/enable", None),
        (Method::POST, "/rotate-secret", None),
        (Method::GET, "/deliveries", None),
        (Method::GET, "/deliveries?state=dead", None),
        (Method::POST, "/replay", Some(r#"{"failures":true}"#)),
    ] {
        let mut answers = Vec::new();
        for path in [path(&made), never.clone()] {
            let answer = site.send(method.clone(), &format!("{path}{rest}"), Some(&other), &[], body).await;
            answers.push(answer.essence());
        }
        assert_eq!(answers[0], answers[1], "{method} {rest}");
        assert_eq!(answers[0].0, 404, "{method} {rest}");
    }
    site.close().await;
}

#[tokio::test]
async fn an_endpoint_is_changed_paused_enabled_and_rotated() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let made = make(&site, &who, &json!({"url": URL, "headers": {"x-a": "1", "x-b": "2"}})).await;
    let change = json!({"ordered": true, "headers": {"x-a": null}, "filter": {"types": "job.*"}});
    let changed = patch(&site, &who, &path(&made), &change).await.ok(200);
    assert_eq!((&changed["ordered"], &changed["headers"]), (&json!(true), &json!({"x-b": "2"})));
    let merge = [("content-type", "application/merge-patch+json")];
    let change = r#"{"headers": {"X-B": "3"}, "jitter": 0}"#;
    let merged = site.send(Method::PATCH, &path(&made), Some(&who), &merge, Some(change)).await.ok(200);
    assert_eq!((&merged["jitter"], &merged["headers"]), (&json!(0), &json!({"x-b": "3"})));
    let posted = site.send(Method::POST, "/api/v1/webhooks", Some(&who), &merge, Some(change)).await;
    assert_eq!(posted.problem(415), "unsupported-media-type");
    let paused = site.act(&format!("{}/pause", path(&made)), &who).await.ok(200);
    assert!(paused["state"] == "paused" && paused["state_since"].is_string(), "{paused}");
    publish(&site, &who, 3).await;
    let behind = site.get(&path(&made), &who).await.ok(200);
    assert!(behind["backlog"]["oldest"].is_string(), "{behind}");
    let enabled = site.act(&format!("{}/enable", path(&made)), &who).await.ok(200);
    assert_eq!((&enabled["state"], &enabled["cursor"]), (&json!("active"), &json!(0)));
    let now = json!({"from": "now"});
    let enabled = site.post(&format!("{}/enable", path(&made)), &who, &now).await.ok(200);
    assert_eq!(enabled["cursor"], 3);
    let rotate = format!("{}/rotate-secret", path(&made));
    let rotated = site.act(&rotate, &who).await.ok(200);
    assert_ne!(rotated["secret"], made["secret"]);
    let secrets = rotated["secrets"].as_array().expect("secrets");
    assert_eq!(secrets.iter().map(|s| s["expires_at"].is_string()).collect::<Vec<_>>(), [true, false]);
    let at_once = site.post(&rotate, &who, &json!({"overlap": "0s", "secret_kind": "v1"})).await.ok(200);
    assert_eq!(at_once["secrets"].as_array().map(Vec::len), Some(1));
    assert_eq!(site.post(&rotate, &who, &json!({"overlap": "8d"})).await.problem(422), "invalid-body");
    site.close().await;
}

#[tokio::test]
async fn a_disabled_endpoint_says_why() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let made = make(&site, &who, &json!({"url": URL})).await;
    say(&site, &made, 0, |report| report.disable = Some(DisabledReason::Gone)).await;
    let shown = site.get(&path(&made), &who).await.ok(200);
    assert_eq!((&shown["state"], &shown["reason"]), (&json!("disabled"), &json!("gone")));
    let paused = site.act(&format!("{}/pause", path(&made)), &who).await.ok(200);
    assert_eq!((&paused["state"], &paused["reason"]), (&json!("paused"), &serde_json::Value::Null));
    let log = site.get("/api/v1/events?since=0", &who).await.ok(200);
    assert_eq!(log["events"][0]["type"], "webhook.disabled");
    assert_eq!(log["events"][0]["data"], json!({"endpoint_id": made["id"], "reason": "gone"}));
    site.close().await;
}

#[tokio::test]
async fn deliveries_are_listed_and_sent_again() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let made = make(&site, &who, &json!({"url": URL})).await;
    // So that the server itself delivers nothing meanwhile.
    site.act(&format!("{}/pause", path(&made)), &who).await.ok(200);
    let paused = "webhook_endpoints{state=\"paused\"} 1";
    until("it is paused", async || site.app.scrape().contains(paused)).await;
    publish(&site, &who, 5).await;
    say(&site, &made, 1, |report| {
        report.cursor = Some(Seq::new(5));
        report.attempts = vec![attempt(1, Some(AttemptFailure::Status)), attempt(2, None), attempt(3, None)];
        report.deliveries = vec![dead(1), dead(4)];
    })
    .await;
    let list = async |query: &str| site.get(&format!("{}/deliveries{query}", path(&made)), &who).await;
    let all = list("?limit=2").await.ok(200);
    let seqs = |page: &Value| -> Vec<u64> {
        let items = page["deliveries"].as_array().expect("a list").iter();
        items.map(|item| item["seq"].as_u64().expect("a seq")).collect()
    };
    assert_eq!(seqs(&all), [3, 2]);
    assert_eq!(
        (&all["deliveries"][0]["status"], &all["deliveries"][0]["answer"]),
        (&json!(200), &json!("ok"))
    );
    let rest = list(&format!("?cursor={}", all["next"].as_str().expect("a cursor"))).await.ok(200);
    assert_eq!((seqs(&rest), &rest["deliveries"][0]["failure"]), (vec![1], &json!("status")));
    let letters = list("?state=dead").await.ok(200);
    assert_eq!((seqs(&letters), &letters["deliveries"][0]["body"]), (vec![1, 4], &json!({"seq": 1})));
    assert_eq!(list("?state=lost").await.problem(400), "bad-parameter");
    let of_event = site.get("/api/v1/webhooks/deliveries?seq=2", &who).await.ok(200);
    assert_eq!(seqs(&of_event), [2]);
    assert_eq!(of_event["deliveries"][0]["endpoint_id"], made["id"]);
    let again = async |body: Value| site.post(&format!("{}/replay", path(&made)), &who, &body).await;
    assert_eq!(again(json!({"seq": 4})).await.ok(202), json!({"deliveries": 1}));
    assert_eq!(seqs(&list("?state=retrying").await.ok(200)), [4]);
    assert_eq!(again(json!({"failures": true})).await.ok(202), json!({"deliveries": 1}));
    assert_eq!(again(json!({"from": 2, "to": 3})).await.ok(202), json!({"deliveries": 2}));
    assert_eq!(again(json!({"since": "2020-01-01T00:00:00Z"})).await.ok(202), json!({"deliveries": 5}));
    for (body, part) in [
        (json!({"from": 9}), "$.from: the head is 5"),
        (json!({"from": 3, "to": 2}), "$.to: to lies before from"),
        (json!({"seq": 0}), "$.seq: seqs begin with 1"),
        (json!({"seq": 6}), "$.seq: the head is 5"),
        (json!({"seq": 1_u64 << 53}), "$.seq: a seq is a whole number"),
        (json!({"since": "2100-01-01T00:00:00Z"}), "no event in that time"),
        (json!({"since": "2020-01-01T00:00:00Z", "until": "2020-01-01T00:00:01Z"}), "no event in that time"),
    ] {
        let answer = again(body.clone()).await;
        assert_eq!(answer.problem(422), "invalid-body", "{body}");
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains(part)), "{body}");
    }
    for odd in [json!({}), json!({"seq": 1, "from": 2}), json!({"failures": false}), json!({"since": 1})] {
        assert_eq!(again(odd.clone()).await.problem(422), "invalid-body", "{odd}");
    }
    let shown = site.get(&path(&made), &who).await.ok(200);
    assert_eq!(shown["replays"].as_array().map(Vec::len), Some(2));
    assert_eq!(shown["backlog"]["retrying"], 2);
    site.close().await;
}

#[tokio::test]
async fn a_users_endpoints_are_paused_with_one_call() {
    let site = Site::open().await;
    let ana = site.key("acme", Some("ana"), "webhooks:manage jobs:read:own").await;
    let made = make(&site, &ana, &json!({"url": URL})).await;
    let others = make(&site, &site.operator("acme"), &json!({"url": URL})).await;
    let pause =
        async |who: &As, user: &str| site.post("/api/v1/webhooks/pause", who, &json!({"user": user})).await;
    assert_eq!(pause(&ana, "ben").await.problem(403), "forbidden");
    assert_eq!(pause(&site.operator("acme"), "ana").await.ok(200), json!({"paused": 1}));
    let who = site.operator("acme");
    assert_eq!(site.get(&path(&made), &who).await.ok(200)["state"], "paused");
    // An endpoint is its creator's, not a key's: keys are replaced, and it goes on.
    site.act(&format!("{}/enable", path(&made)), &who).await.ok(200);
    let keys = site.get("/api/v1/keys", &who).await.ok(200);
    for key in keys["keys"].as_array().expect("a list") {
        site.delete(&format!("/api/v1/keys/{}", key["id"].as_str().expect("an id")), &who).await.ok(204);
    }
    site.get("/api/v1/webhooks", &ana).await.ok(401);
    assert_eq!(site.get(&path(&made), &who).await.ok(200)["state"], "active");
    assert_eq!(site.get(&path(&others), &who).await.ok(200)["state"], "active");
    site.close().await;
}

#[tokio::test]
async fn tests_count_in_the_tenants_rate() {
    let site = Site::with(&["webhooks.rate_per_tenant=2/h", "webhooks.allow_cidrs=[\"127.0.0.0/8\"]"]).await;
    let who = site.operator("acme");
    // Nobody listens there: what is counted is that it was tried.
    let made = make(&site, &who, &json!({"url": "http://127.0.0.1:1025/"})).await;
    let test = format!("{}/test", path(&made));
    for _ in 0..2 {
        assert_eq!(site.act(&test, &who).await.ok(200)["delivered"], false);
    }
    let more = site.act(&test, &who).await;
    assert_eq!(more.problem(429), "rate-limited");
    assert_eq!(more.json()["limit"], "webhooks.rate_per_tenant");
    assert!(more.headers.contains_key("retry-after"));
    site.close().await;
}

#[tokio::test]
async fn a_page_of_attempts_ends_at_a_mebibyte_of_answers() {
    let site = Site::open().await;
    let who = site.operator("acme");
    publish(&site, &who, 1).await;
    let made = make(&site, &who, &json!({"url": URL})).await;
    say(&site, &made, 0, |report| {
        let answered =
            Attempt { answer: vec![b'x'; 4_096].into(), ..attempt(1, Some(AttemptFailure::Status)) };
        report.attempts = vec![answered; 600];
    })
    .await;
    let (of_endpoint, of_event) =
        (format!("{}/deliveries?limit=1000", path(&made)), "/api/v1/webhooks/deliveries?seq=1&limit=1000");
    for pages in [&of_endpoint, of_event] {
        let (mut sizes, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = site.get(&format!("{pages}{cursor}"), &who).await.ok(200);
            sizes.push(page["deliveries"].as_array().expect("a list").len());
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(sizes, [256, 256, 88], "{pages}");
    }
}
