use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::site::{As, PATIENCE, Site, configured};

fn wanted(types: &[&str], max: u32, wait_s: u32) -> Value {
    json!({"worker": "w", "types": types, "max": max, "wait_s": wait_s})
}

#[tokio::test]
async fn a_job_runs_from_lease_to_completion() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let job = site.enqueue(&who, json!({"type": "a", "payload": {"x": 1}})).await;
    let leases = site.post("/api/v1/leases", &who, &wanted(&["a"], 1, 0)).await.ok(200);
    let lease = &leases["leases"][0];
    assert_eq!((&lease["attempt"], &lease["job"]["id"]), (&json!(1), &job["id"]));
    assert_eq!(lease["job"]["payload"], json!({"x": 1}));
    let token = lease["lease"].as_str().expect("a token");
    assert_eq!(token, format!("acme~{}~1", job["id"].as_str().expect("an id")));
    let path = format!("/api/v1/leases/{token}");
    let pulse = site.act(&format!("{path}/heartbeat"), &who).await.ok(200);
    assert_eq!((&pulse["cancel"], &pulse["drain"]), (&json!(false), &json!(false)));
    site.post(&format!("{path}/progress"), &who, &json!({"percent": 40, "message": "half"})).await.ok(200);
    let done = site.post(&format!("{path}/complete"), &who, &json!({"result": [1]})).await.ok(200);
    assert_eq!((&done["state"], &done["result"]), (&json!("completed"), &json!([1])));
    let again = site.post(&format!("{path}/complete"), &who, &json!({"result": [2]})).await.ok(200);
    assert_eq!(again["result"], json!([1]), "the first outcome stands");
    for (report, body) in [
        ("heartbeat", json!({})),
        ("progress", json!({"percent": 1})),
        ("fail", json!({"error": "x"})),
        ("release", json!({})),
    ] {
        let answer = site.post(&format!("{path}/{report}"), &who, &body).await;
        assert_eq!(answer.problem(409), "lease-lost", "{report}");
    }
    let events = site.get("/api/v1/events", &who).await.ok(200);
    let types: Vec<_> =
        events["events"].as_array().expect("events").iter().map(|e| e["type"].clone()).collect();
    assert_eq!(types, ["job.queued", "job.started", "job.progress", "job.completed"]);
    site.close().await;
}

#[tokio::test]
async fn a_cancelled_jobs_worker_is_told_by_its_heartbeat() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let job = site.enqueue(&who, json!({"type": "a"})).await;
    let lease = site.lease(&who, "a").await;
    let id = job["id"].as_str().expect("an id");
    let asked = site.act(&format!("/api/v1/jobs/{id}/cancel"), &who).await.ok(200);
    assert_eq!((&asked["state"], &asked["cancel_requested"]), (&json!("running"), &json!(true)));
    let pulse = site.act(&format!("/api/v1/leases/{lease}/heartbeat"), &who).await.ok(200);
    assert_eq!(pulse["cancel"], true);
    let ended =
        site.post(&format!("/api/v1/leases/{lease}/fail"), &who, &json!({"error": "stopped"})).await.ok(200);
    assert_eq!(ended["state"], "cancelled");
    site.close().await;
}

#[tokio::test]
async fn failing_retries_and_releasing_spends_no_attempt() {
    let site = Site::open().await;
    let who = site.operator("acme");
    site.enqueue(&who, json!({"type": "a", "max_attempts": 2})).await;
    let lease = site.lease(&who, "a").await;
    let back = site.act(&format!("/api/v1/leases/{lease}/release"), &who).await.ok(200);
    assert_eq!((&back["state"], &back["attempt"]), (&json!("scheduled"), &json!(0)));
    let lease = site.lease(&who, "a").await;
    let body = json!({"message": "no luck", "category": "dependency", "retry_in": "1ms"});
    let retried = site.post(&format!("/api/v1/leases/{lease}/fail"), &who, &body).await.ok(200);
    assert_eq!((&retried["state"], &retried["attempt"]), (&json!("scheduled"), &json!(1)));
    let leases = site.post("/api/v1/leases", &who, &wanted(&["a"], 1, 10)).await.ok(200);
    let lease = leases["leases"][0]["lease"].as_str().expect("due by now").to_owned();
    let body = json!({"error": "hopeless", "retry": false});
    let failed = site.post(&format!("/api/v1/leases/{lease}/fail"), &who, &body).await.ok(200);
    assert_eq!(failed["state"], "failed");
    for bad in [
        json!({}),
        json!({"error": "a", "message": "b"}),
        json!({"error": "a", "category": "x"}),
        json!({"error": "a", "retry_in": "31d"}),
    ] {
        let answer = site.post(&format!("/api/v1/leases/{lease}/fail"), &who, &bad).await;
        assert_eq!(answer.problem(422), "invalid-body", "{bad}");
    }
    site.close().await;
}

#[tokio::test]
async fn waiting_workers_are_woken_by_what_they_wait_for() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let body = wanted(&["a", "b"], 5, 30);
    let (waiting, ()) = tokio::join!(site.post("/api/v1/leases", &who, &body).map_ok(), async {
        tokio::task::yield_now().await;
        site.enqueue(&who, json!({"type": "other"})).await;
        site.enqueue(&who, json!({"type": "b"})).await;
    });
    assert_eq!(waiting["leases"][0]["job"]["type"], "b");
    // What is scheduled for later comes when it is due.
    let soon = tidings_core::Clock::now(&tidings_core::SystemClock) + Duration::from_millis(300);
    site.enqueue(&who, json!({"type": "a", "run_at": soon})).await;
    let due = site.post("/api/v1/leases", &who, &wanted(&["a"], 5, 30)).await.ok(200);
    assert_eq!(due["leases"][0]["job"]["type"], "a");
    let nothing = site.post("/api/v1/leases", &who, &wanted(&["a"], 5, 1)).await.ok(200);
    assert_eq!(nothing["leases"], json!([]));
    site.close().await;
}

#[tokio::test]
async fn many_waiting_workers_share_many_jobs_and_none_gets_one_twice() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let body = wanted(&["a"], 1, 30);
    let workers = (0..20).map(|_| site.post("/api/v1/leases", &who, &body).map_ok());
    let (leases, ()) = tokio::join!(futures_util::future::join_all(workers), async {
        for _ in 0..4 {
            let five: Vec<_> = (0..5).map(|_| json!({"type": "a"})).collect();
            site.post("/api/v1/jobs", &who, &json!(five)).await.ok(201);
            tokio::task::yield_now().await;
        }
    });
    let mut ids: Vec<_> = leases.iter().map(|l| l["leases"][0]["job"]["id"].to_string()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    site.close().await;
}

#[tokio::test]
async fn a_worker_that_is_gone_before_its_answer_gives_the_lease_back() {
    let site = Site::open().await;
    let who = site.operator("acme");
    for n in 0..10 {
        let body = wanted(&["a"], 1, 30);
        let mut waiting = Box::pin(site.post("/api/v1/leases", &who, &body));
        // It waits, a job comes, and it goes at some moment between waking and answering.
        let _ = timeout(Duration::from_millis(5), &mut waiting).await;
        site.enqueue(&who, json!({"type": "a", "payload": n})).await;
        if let Ok(answer) = timeout(Duration::from_micros(200 * n), &mut waiting).await {
            // It was quicker: then it has the job.
            let lease = answer.ok(200)["leases"][0]["lease"].as_str().expect("a token").to_owned();
            site.act(&format!("/api/v1/leases/{lease}/complete"), &who).await.ok(200);
            continue;
        }
        drop(waiting);
        let leases = site.post("/api/v1/leases", &who, &wanted(&["a"], 1, 30)).await.ok(200);
        let job = &leases["leases"][0];
        assert_eq!((&job["job"]["payload"], &job["attempt"]), (&json!(n), &json!(1)), "no attempt was spent");
        let lease = job["lease"].as_str().expect("a token");
        site.act(&format!("/api/v1/leases/{lease}/complete"), &who).await.ok(200);
    }
    site.close().await;
}

#[tokio::test]
async fn an_answer_that_is_dropped_unread_gives_its_leases_back() {
    let site = Site::open().await;
    let who = site.operator("acme");
    site.enqueue(&who, json!({"type": "a"})).await;
    let request = http::Request::post("/api/v1/leases")
        .header("authorization", format!("Bearer {}", who.token()))
        .header("x-tidings-tenant", "acme")
        .header("content-type", "application/json")
        .body(wanted(&["a"], 1, 0).to_string().into())
        .expect("a request");
    let undelivered = site.raw(request).await;
    assert_eq!(undelivered.status(), 200);
    drop(undelivered);
    let leases = site.post("/api/v1/leases", &who, &wanted(&["a"], 1, 30)).await.ok(200);
    assert_eq!(leases["leases"][0]["attempt"], 1);
    site.close().await;
}

#[tokio::test]
async fn a_silent_worker_loses_its_lease_and_its_late_report_changes_nothing() {
    let site = Site::with(&["jobs.lease=500ms"]).await;
    let who = site.operator("acme");
    site.enqueue(&who, json!({"type": "a"})).await;
    let late = site.lease(&who, "a").await;
    let leases = site.post("/api/v1/leases", &who, &wanted(&["a"], 1, 20)).await.ok(200);
    assert_eq!(leases["leases"][0]["attempt"], 2);
    let lease = leases["leases"][0]["lease"].as_str().expect("a token");
    for report in ["complete", "heartbeat", "release"] {
        let answer = site.act(&format!("/api/v1/leases/{late}/{report}"), &who).await;
        assert_eq!(answer.problem(409), "lease-lost", "{report}");
    }
    site.act(&format!("/api/v1/leases/{lease}/complete"), &who).await.ok(200);
    let done = site.get("/api/v1/events?types=job.completed,job.failed,job.cancelled", &who).await.ok(200);
    assert_eq!(done["events"].as_array().map(Vec::len), Some(1));
    site.close().await;
}

#[tokio::test]
async fn progress_is_merged_and_what_waits_goes_before_the_end() {
    let site = Site::with(&["jobs.progress_rate=1/m"]).await;
    let who = site.operator("acme");
    site.enqueue(&who, json!({"type": "a"})).await;
    let lease = site.lease(&who, "a").await;
    let path = format!("/api/v1/leases/{lease}/progress");
    site.post(&path, &who, &json!({"percent": 1})).await.ok(200);
    for percent in 2..=50 {
        site.post(&path, &who, &json!({"percent": percent})).await.ok(202);
    }
    assert_eq!(site.post(&path, &who, &json!({"percent": 101})).await.problem(422), "invalid-body");
    site.act(&format!("/api/v1/leases/{lease}/complete"), &who).await.ok(200);
    let page = site.get("/api/v1/events?types=job.progress,job.completed", &who).await.ok(200);
    let told: Vec<_> =
        page["events"].as_array().expect("events").iter().map(|e| e["data"]["percent"].clone()).collect();
    assert_eq!(told, [json!(1), json!(50), Value::Null]);
    assert_eq!(site.post(&path, &who, &json!({"percent": 60})).await.problem(409), "lease-lost");
    site.close().await;
}

#[tokio::test]
async fn what_waits_of_progress_is_written_when_its_time_has_come() {
    let site = Site::with(&["jobs.progress_rate=20/s"]).await;
    let who = site.operator("acme");
    site.enqueue(&who, json!({"type": "a"})).await;
    let lease = site.lease(&who, "a").await;
    let path = format!("/api/v1/leases/{lease}/progress");
    site.post(&path, &who, &json!({"percent": 1})).await.ok(200);
    site.post(&path, &who, &json!({"percent": 2})).await.ok(202);
    let page = site.get("/api/v1/events?types=job.progress&wait=30&since=3", &who).await.ok(200);
    assert_eq!(page["events"][0]["data"]["percent"], 2);
    site.close().await;
}

#[tokio::test]
async fn a_job_of_the_workers_own_is_leased_in_the_commit_that_makes_it() {
    let site = Site::open().await;
    let who = site.operator("acme");
    let body = json!({"worker": "w", "job": {"type": "mine", "payload": 7}});
    let leases = site.post("/api/v1/leases", &who, &body).await.ok(200);
    assert_eq!(leases["leases"][0]["job"]["payload"], 7);
    let nothing = site.post("/api/v1/leases", &who, &wanted(&["mine"], 1, 0)).await.ok(200);
    assert_eq!(nothing["leases"], json!([]));
    let both = json!({"worker": "w", "job": {"type": "mine"}, "types": ["a"]});
    assert_eq!(site.post("/api/v1/leases", &who, &both).await.problem(422), "invalid-body");
    let worker = site.key("acme", None, "jobs:work").await;
    assert_eq!(site.post("/api/v1/leases", &worker, &body).await.problem(403), "forbidden");
    site.close().await;
}

#[tokio::test]
async fn a_stopping_server_answers_waiting_workers_and_gives_no_more_leases() {
    let site = Site::open().await;
    let who = site.operator("acme");
    site.enqueue(&who, json!({"type": "b"})).await;
    let lease = site.lease(&who, "b").await;
    let body = wanted(&["a"], 1, 60);
    let (answered, ()) = tokio::join!(
        async { timeout(PATIENCE, site.post("/api/v1/leases", &who, &body)).await.expect("at once") },
        async {
            tokio::task::yield_now().await;
            site.app.drain().begin();
        }
    );
    if answered.status == 200 {
        assert_eq!(answered.ok(200)["leases"], json!([]));
    } else {
        assert_eq!(answered.problem(503), "draining");
    }
    let refused = site.post("/api/v1/leases", &who, &body).await;
    assert_eq!(refused.problem(503), "draining");
    assert!(refused.headers.contains_key("retry-after"));
    let pulse = site.act(&format!("/api/v1/leases/{lease}/heartbeat"), &who).await.ok(200);
    assert_eq!(pulse["drain"], true);
    assert_eq!(site.send(Method::GET, "/health/ready", None, &[], None).await.ok(503)["status"], "draining");
    assert_eq!(site.send(Method::GET, "/health/live", None, &[], None).await.ok(200)["status"], "ok");
    site.close().await;
}

#[tokio::test]
async fn a_worker_that_stops_has_its_own_polls_answered() {
    let site = Site::open().await;
    let (who, other) = (site.operator("acme"), site.operator("other"));
    let body = json!({"worker": "w", "types": ["a"], "wait_s": 60});
    let poll = site.post("/api/v1/leases", &who, &body);
    let ended = |who: As, worker: &'static str| {
        let site = &site;
        async move {
            let stop = site.post("/api/v1/leases/stop", &who, &json!({"worker": worker})).await;
            stop.ok(200)["polls"].as_u64().expect("a number")
        }
    };
    let stop = async {
        loop {
            assert_eq!(ended(other.clone(), "w").await, 0, "another tenant's worker of that name");
            assert_eq!(ended(who.clone(), "v").await, 0);
            if ended(who.clone(), "w").await == 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let (answer, ()) =
        tokio::time::timeout(PATIENCE, async { tokio::join!(poll, stop) }).await.expect("is answered");
    assert_eq!(answer.ok(200), json!({"leases": []}));
    assert_eq!(ended(who.clone(), "w").await, 0, "nothing of it is left");
    site.close().await;
}

#[tokio::test]
async fn a_job_of_the_workers_own_waits_for_room_like_any_other() {
    let site = Site::with(&["jobs.concurrency.export=1"]).await;
    let who = site.operator("acme");
    let body = json!({"worker": "w", "job": {"type": "export"}});
    let first = site.post("/api/v1/leases", &who, &body).await.ok(200);
    let refused = site.post("/api/v1/leases", &who, &body).await;
    assert_eq!(refused.problem(429), "jobs-limited");
    assert_eq!(refused.ok(429)["limit"], "jobs.concurrency");
    assert!(refused.headers.contains_key("retry-after"));
    let jobs = site.get("/api/v1/jobs", &who).await.ok(200);
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1), "nothing was enqueued");
    let lease = first["leases"][0]["lease"].as_str().expect("a lease");
    site.act(&format!("/api/v1/leases/{lease}/complete"), &who).await.ok(200);
    site.post("/api/v1/leases", &who, &body).await.ok(200);
    site.close().await;
}

#[tokio::test]
async fn a_reload_gives_waiting_workers_the_room_that_it_makes() {
    let site = Site::with(&["jobs.concurrency.export=1"]).await;
    let who = site.operator("acme");
    for _ in 0..3 {
        site.enqueue(&who, json!({"type": "export"})).await;
    }
    site.lease(&who, "export").await;
    let ask = wanted(&["export"], 1, 60);
    let mut poll = Box::pin(site.post("/api/v1/leases", &who, &ask));
    let waits = timeout(Duration::from_millis(300), &mut poll).await;
    assert!(waits.is_err(), "one runs, as many as may: {waits:?}");
    let reload = |settings: &[&str]| site.app.reload(&configured(site.folder(), settings)).expect("reloads");
    reload(&["jobs.concurrency.export=2"]);
    let leases = timeout(PATIENCE, poll).await.expect("there is room").ok(200);
    assert_eq!(leases["leases"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        site.post("/api/v1/leases", &who, &wanted(&["export"], 1, 0)).await.ok(200),
        json!({"leases": []})
    );
    reload(&[]);
    site.lease(&who, "export").await;
    // Another key of the section takes a restart, and changes nothing of this one.
    reload(&["jobs.concurrency.export=1", "jobs.lease=10s"]);
    let body = json!({"worker": "w", "job": {"type": "export"}});
    assert_eq!(site.post("/api/v1/leases", &who, &body).await.problem(429), "jobs-limited");
    site.close().await;
}

/// So that joined futures need not be unwrapped one by one.
trait MapOk: Future<Output = crate::site::Answer> + Sized {
    async fn map_ok(self) -> Value {
        self.await.ok(200)
    }
}

impl<F: Future<Output = crate::site::Answer>> MapOk for F {}

#[tokio::test]
async fn a_failure_that_is_final_names_no_delay() {
    let site = Site::open().await;
    let who = site.operator("acme");
    site.enqueue(&who, json!({"type": "a"})).await;
    let path = format!("/api/v1/leases/{}/fail", site.lease(&who, "a").await);
    let answer = site.post(&path, &who, &json!({"error": "x", "retry": false, "retry_in": "5s"})).await;
    assert_eq!(answer.problem(422), "invalid-body");
    assert_eq!(answer.json()["path"], "$.retry_in");
    let failed = site.post(&path, &who, &json!({"error": "x", "retry": false})).await.ok(200);
    assert_eq!(failed["state"], "failed");
    site.close().await;
}
