use std::{sync::Arc, time::Duration};

use http::Method;
use serde_json::{Value, json};
use tidings_core::{Clock as _, Timestamp};

use crate::site::{As, PATIENCE, ShiftedClock, Site, folder};

const MINUTE: Duration = Duration::from_mins(1);

fn body(name: &str, cron: &str) -> Value {
    json!({"name": name, "cron": cron, "job": {"type": "report", "payload": {"to": "ana"}}})
}

async fn make(site: &Site, who: &As, body: &Value) -> Value {
    site.post("/api/v1/schedules", who, body).await.ok(201)
}

async fn show(site: &Site, who: &As, name: &str) -> Value {
    site.get(&format!("/api/v1/schedules/{name}"), who).await.ok(200)
}

fn at(value: &Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap_or_else(|| panic!("no time: {value}"))).expect("a time")
}

async fn jobs(site: &Site, who: &As) -> Vec<Value> {
    site.get("/api/v1/jobs?limit=1000", who).await.ok(200)["jobs"].as_array().expect("jobs").clone()
}

/// Asks until the schedule fits.
async fn until(site: &Site, who: &As, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let schedule = show(site, who, name).await;
        if fits(&schedule) {
            return schedule;
        }
        assert!(tokio::time::Instant::now() < deadline, "{schedule}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_schedule_shows_what_it_does_and_when() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let full = json!({
        "name": "reports.nightly-eu", "cron": " 30  2 * * MON-FRI", "zone": "europe/berlin", "overlap": "skip",
        "job": {
            "type": "report", "payload": {"b": 1, "a": [2, 3.50]}, "priority": 5, "subject": "report/eu",
            "max_attempts": 3, "owner": "ana", "backoff": {"base": "2s", "max": "1m"}
        }
    });
    let made = make(&site, &who, &full).await;
    assert_eq!(made["cron"], "30 2 * * MON-FRI");
    assert_eq!((&made["zone"], &made["overlap"]), (&json!("Europe/Berlin"), &json!("skip")));
    assert_eq!(made["job"], full["job"], "as it was given");
    assert_eq!(made["paused"], false);
    let upcoming: Vec<_> = made["upcoming"].as_array().expect("times").iter().map(at).collect();
    assert_eq!(upcoming.len(), 5);
    assert!(upcoming.is_sorted_by(|a, b| a < b));
    assert_eq!(upcoming[0], at(&made["next_fire_at"]));
    assert_eq!(show(&site, &who, "reports.nightly-eu").await, made);
    let plain = make(&site, &who, &body("plain", "@daily")).await;
    assert_eq!((&plain["zone"], &plain["overlap"]), (&json!("UTC"), &json!("allow")));
    assert_eq!(
        (&plain["job"]["max_attempts"], &plain["job"]["backoff"]),
        (&json!(5), &json!({"base": "1s", "max": "1h"}))
    );
    site.delete("/api/v1/schedules/plain", &who).await.ok(204);
    assert_eq!(site.get("/api/v1/schedules/plain", &who).await.problem(404), "not-found");
    assert_eq!(site.delete("/api/v1/schedules/plain", &who).await.problem(404), "not-found");
    site.close().await;
}

#[tokio::test]
async fn a_mistake_is_told_with_its_field() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let with = |key: &str, value: Value| {
        let mut body = body("n", "@daily");
        body[key] = value;
        body
    };
    let job = |key: &str, value: Value| {
        let mut body = body("n", "@daily");
        body["job"][key] = value;
        body
    };
    for (wrong, path, part) in [
        (with("cron", json!("61 * * * *")), "$.cron", "the field of the minute, \"61\", does not read"),
        (with("cron", json!("* * * *")), "$.cron", "4 fields"),
        (with("cron", json!("* * * * * *")), "$.cron", "6 fields"),
        (with("cron", json!("0 0 30 2 *")), "$.cron", "never comes"),
        (with("cron", json!(5)), "$.cron", "invalid type"),
        (with("zone", json!("Mars/Olympus")), "$.zone", "no time zone \"Mars/Olympus\""),
        (with("overlap", json!("queue")), "$.overlap", "\"allow\" or \"skip\""),
        (with("name", json!("Nightly")), "$.name", "schedule name"),
        (with("colour", json!(1)), "$.colour", "unknown field"),
        (job("type", json!("Report")), "$.job.type", "job type"),
        (job("priority", json!(1_001)), "$.job.priority", "priority"),
        (job("unique_key", json!("k")), "$.job.unique_key", "unknown field"),
        (job("run_at", json!("2126-01-01T00:00:00Z")), "$.job.run_at", "unknown field"),
        (json!({"name": "n", "cron": "@daily"}), "$.job", "missing field `job`"),
        (json!({"cron": "@daily", "job": {"type": "a"}}), "$.name", "missing field `name`"),
        (json!({"name": "n", "cron": "@daily", "job": ["a"]}), "$.job", "an object"),
    ] {
        let answer = site.post("/api/v1/schedules", &who, &wrong).await;
        assert_eq!(answer.problem(422), "invalid-body", "{wrong}");
        let problem = answer.json();
        assert!(problem["detail"].as_str().is_some_and(|d| d.contains(part)), "{wrong}: {problem}");
        assert_eq!(problem["path"], path, "{wrong}");
    }
    let large = job("payload", json!("x".repeat(70_000)));
    assert_eq!(site.post("/api/v1/schedules", &who, &large).await.problem(413), "too-large");
    let broken = site.send(Method::POST, "/api/v1/schedules", Some(&who), &[], Some("{")).await;
    assert_eq!(broken.problem(400), "malformed-json");
    assert_eq!(
        site.put("/api/v1/schedules/Nightly", &who, &body("n", "@daily")).await.problem(400),
        "bad-parameter"
    );
    let other = site.put("/api/v1/schedules/m", &who, &body("n", "@daily")).await;
    assert_eq!((other.problem(422), &other.json()["path"]), ("invalid-body".into(), &json!("$.name")));
    assert_eq!(site.get("/api/v1/schedules?cursor=-", &who).await.problem(400), "bad-cursor");
    assert_eq!(site.get("/api/v1/schedules", &who).await.ok(200), json!({"schedules": []}));
    site.close().await;
}

#[tokio::test]
async fn a_name_is_taken_once_and_put_replaces_it() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let first = make(&site, &who, &body("nightly", "@daily")).await;
    let again = site.post("/api/v1/schedules", &who, &body("nightly", "@hourly")).await;
    assert_eq!(again.problem(409), "name-taken");
    site.act("/api/v1/schedules/nightly/pause", &who).await.ok(200);
    let mut other = body("nightly", "@hourly");
    other.as_object_mut().expect("an object").remove("name");
    let replaced = site.put("/api/v1/schedules/nightly", &who, &other).await.ok(200);
    assert_eq!(
        (&replaced["id"], &replaced["cron"], &replaced["paused"]),
        (&first["id"], &json!("@hourly"), &json!(true))
    );
    assert_eq!(replaced["upcoming"], json!([]));
    site.put("/api/v1/schedules/hourly", &who, &other).await.ok(201);
    let names = |page: &Value| -> Vec<String> {
        page["schedules"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|s| s["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let page = site.get("/api/v1/schedules?limit=1", &who).await.ok(200);
    assert_eq!((names(&page), &page["next"]), (vec!["hourly".to_owned()], &json!("hourly")));
    let page = site.get("/api/v1/schedules?limit=5&cursor=hourly", &who).await.ok(200);
    assert_eq!((names(&page), &page["next"]), (vec!["nightly".to_owned()], &Value::Null));
    assert!(page["schedules"][0].get("upcoming").is_none());
    site.close().await;
}

#[tokio::test]
async fn schedules_are_for_their_owner_and_scope() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let ana = site.key("acme", Some("ana"), "jobs:write jobs:read:own").await;
    let ben = site.key("acme", Some("ben"), "jobs:write jobs:read:own").await;
    let made = make(&site, &ana, &body("anas", "@daily")).await;
    assert_eq!(made["job"]["owner"], "ana");
    let mut foreign = body("bens", "@daily");
    foreign["job"]["owner"] = "ana".into();
    assert_eq!(site.post("/api/v1/schedules", &ben, &foreign).await.problem(403), "forbidden");
    assert_eq!(site.get("/api/v1/schedules", &ben).await.ok(200), json!({"schedules": []}));
    for act in ["pause", "resume", "trigger"] {
        let answer = site.act(&format!("/api/v1/schedules/anas/{act}"), &ben).await;
        assert_eq!(answer.problem(404), "not-found");
    }
    assert_eq!(site.delete("/api/v1/schedules/anas", &ben).await.problem(404), "not-found");
    assert_eq!(site.get("/api/v1/schedules/anas", &ben).await.problem(404), "not-found");
    let taken = site.put("/api/v1/schedules/anas", &ben, &body("anas", "@hourly")).await;
    assert_eq!(taken.problem(409), "name-taken");
    assert_eq!(show(&site, &who, "anas").await, made);
    let reader = site.key("acme", None, "jobs:read:all").await;
    assert_eq!(show(&site, &reader, "anas").await, made);
    for (method, path) in [
        (Method::POST, "/api/v1/schedules"),
        (Method::PUT, "/api/v1/schedules/anas"),
        (Method::DELETE, "/api/v1/schedules/anas"),
        (Method::POST, "/api/v1/schedules/anas/pause"),
        (Method::POST, "/api/v1/schedules/anas/resume"),
        (Method::POST, "/api/v1/schedules/anas/trigger"),
    ] {
        let answer =
            site.send(method, path, Some(&reader), &[], Some(&body("anas", "@daily").to_string())).await;
        assert_eq!(answer.problem(403), "forbidden", "{path}");
    }
    let writer = site.key("acme", None, "jobs:write").await;
    assert_eq!(site.get("/api/v1/schedules", &writer).await.problem(403), "forbidden");
    site.close().await;
}

#[tokio::test]
async fn a_trigger_enqueues_now_and_moves_nothing() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let mut skipping = body("yearly", "@yearly");
    skipping["overlap"] = "skip".into();
    let made = make(&site, &who, &skipping).await;
    site.act("/api/v1/schedules/yearly/pause", &who).await.ok(200);
    let key = [("idempotency-key", "once")];
    let trigger = "/api/v1/schedules/yearly/trigger";
    let job = site.send(Method::POST, trigger, Some(&who), &key, None).await.ok(201);
    assert_eq!(
        (&job["type"], &job["state"], &job["payload"]),
        (&json!("report"), &json!("queued"), &json!({"to": "ana"}))
    );
    assert_eq!(site.send(Method::POST, trigger, Some(&who), &key, None).await.ok(200), job, "a repeat");
    let overlapping = site.act(trigger, &who).await.ok(200);
    assert_eq!(overlapping["id"], job["id"], "it is not finished");
    let cancel = format!("/api/v1/jobs/{}/cancel", job["id"].as_str().expect("an id"));
    site.act(&cancel, &who).await.ok(200);
    let second = site.act(trigger, &who).await.ok(201);
    assert_ne!(second["id"], job["id"]);
    let resumed = site.act("/api/v1/schedules/yearly/resume", &who).await.ok(200);
    assert_eq!(resumed["next_fire_at"], made["next_fire_at"]);
    assert!(resumed.get("last_fire_at").is_none());
    site.close().await;
}

#[tokio::test]
async fn a_due_schedule_fires_by_itself() {
    let clock = ShiftedClock::default();
    let site = Site::on(folder(), &[], Arc::new(clock.clone())).await;
    let who = site.operator("acme");
    let made = make(&site, &who, &body("minutely", "* * * * *")).await;
    let next = at(&made["next_fire_at"]);
    clock.forward(next.since(clock.now()) + Duration::from_millis(1));
    let fired = until(&site, &who, "minutely", |s| s.get("last_fire_at").is_some()).await;
    assert!(at(&fired["last_fire_at"]) >= next);
    assert!(at(&fired["next_fire_at"]) > at(&fired["last_fire_at"]));
    let id = fired["last_job_id"].as_str().expect("an id");
    let job = site.get(&format!("/api/v1/jobs/{id}"), &who).await.ok(200);
    assert_eq!((&job["type"], &job["state"]), (&json!("report"), &json!("queued")));
    let events = site.get("/api/v1/events", &who).await.ok(200);
    assert_eq!(
        (&events["events"][0]["type"], &events["events"][0]["job_id"]),
        (&json!("job.queued"), &json!(id))
    );
    site.close().await;
}

/// Runs a server in a runtime of its own until `life` has ended, and then lets go of everything at once: the
/// folder is left as by a killed process.
fn until_killed<T: Send + 'static>(
    folder: &std::path::Path,
    clock: &ShiftedClock,
    life: impl AsyncFnOnce(&Site) -> T + Send + 'static,
) -> T {
    let (folder, clock) = (folder.to_owned(), clock.clone());
    let runtime = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let site = Site::on(folder, &[], Arc::new(clock)).await;
            life(&site).await
        })
    };
    // Dropping a runtime is for threads that are not of another.
    std::thread::scope(|scope| scope.spawn(runtime).join().expect("it lives"))
}

#[test]
fn what_a_killed_server_missed_is_one_run_and_nothing_is_doubled() {
    let (folder, clock) = (folder(), ShiftedClock::default());
    let first = until_killed(&folder, &clock, {
        let clock = clock.clone();
        async move |site| {
            let who = site.operator("acme");
            let made = make(site, &who, &body("minutely", "* * * * *")).await;
            clock.forward(at(&made["next_fire_at"]).since(clock.now()));
            until(site, &who, "minutely", |s| s.get("last_fire_at").is_some()).await
        }
    });
    // Down for an hour.
    clock.forward(MINUTE * 60);
    let second = until_killed(&folder, &clock, {
        let fired = at(&first["last_fire_at"]);
        async move |site| {
            let who = site.operator("acme");
            until(site, &who, "minutely", move |s| at(&s["last_fire_at"]) > fired).await
        }
    });
    assert!(at(&second["last_fire_at"]) >= at(&first["last_fire_at"]) + MINUTE * 60);
    // Killed right after a fire and back at once: that fire is not made again.
    let found = until_killed(&folder, &clock, async |site| {
        let who = site.operator("acme");
        let schedule = show(site, &who, "minutely").await;
        (schedule, jobs(site, &who).await, site.get("/api/v1/events", &who).await.ok(200))
    });
    let (schedule, jobs, events) = found;
    let mut fires: Vec<_> = [&first, &second, &schedule].map(|s| s["last_job_id"].clone()).into();
    fires.dedup();
    let ids: Vec<_> = jobs.iter().rev().map(|job| job["id"].clone()).collect();
    assert_eq!(ids, fires, "a minute may have passed meanwhile, and an hour is one run");
    assert_eq!(events["head"], ids.len());
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}
