//! One job, one worker at a time, one terminal event: whatever becomes of workers.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tidings_tests::{
    Api, Server, ServerOptions,
    history::Log,
    server::{is_alive, signal},
    wait::{self, LONG},
};

fn enqueue(api: &Api, body: &Value) -> String {
    let job = api.post("/api/v1/jobs", body).expect("answers").expect(201).json();
    job["id"].as_str().expect("an id").to_owned()
}

/// Long-polls for one job.
fn lease(api: &Api, job_type: &str) -> Value {
    let body = json!({ "worker": "w", "types": [job_type], "max": 1, "wait_s": 20 });
    let leases = api.post("/api/v1/leases", &body).expect("answers").expect(200).json();
    let lease = leases["leases"][0].clone();
    assert!(lease.is_object(), "no job came: {leases}");
    lease
}

fn report(api: &Api, lease: &Value, what: &str, body: &Value) -> tidings_tests::Reply {
    let token = lease["lease"].as_str().expect("a token");
    api.post(&format!("/api/v1/leases/{token}/{what}"), body).expect("answers")
}

fn job(api: &Api, id: &str) -> Value {
    api.get(&format!("/api/v1/jobs/{id}")).expect("answers").expect(200).json()
}

fn quick(job_type: &str) -> Value {
    json!({ "type": job_type, "backoff": { "base": "10ms", "max": "20ms" } })
}

#[test]
fn a_worker_that_stalls_past_its_lease_is_refused_and_changes_nothing() {
    let server = ServerOptions::new().set("jobs.lease", "1s").start();
    let api = server.tenant("acme");
    let id = enqueue(&api, &quick("embed"));
    let stalled = lease(&api, "embed");
    assert_eq!(stalled["job"]["id"], id.as_str());
    let second = lease(&api, "embed");
    assert_eq!(second["job"]["id"], id.as_str(), "the job came back within its lease");
    assert_eq!(second["attempt"], 2);
    let before = Log::read(&api, "acme", "");
    for (what, body) in [
        ("heartbeat", json!({})),
        ("progress", json!({ "percent": 99 })),
        ("complete", json!({ "result": "stale" })),
        ("fail", json!({ "message": "stale" })),
        ("release", json!({})),
    ] {
        let problem = report(&api, &stalled, what, &body).expect_problem(409);
        assert!(problem["type"].as_str().is_some_and(|t| t.ends_with("lease-lost")), "{what}: {problem}");
    }
    let after = Log::read(&api, "acme", "");
    assert_eq!(before.events, after.events, "a late report changes nothing");
    let _ = report(&api, &second, "complete", &json!({ "result": "fresh" })).expect(200);
    assert_eq!(job(&api, &id)["result"], "fresh");
    let _ = report(&api, &stalled, "complete", &json!({ "result": "stale" })).expect_problem(409);
    let ends = Log::read(&api, "acme", "").assert_each_job_ended_once(&BTreeSet::from([id.clone()]));
    assert_eq!(ends[&id], "job.completed");
}

#[test]
fn a_live_long_job_is_never_run_twice() {
    let server = ServerOptions::new().set("jobs.lease", "1s").start();
    let api = server.tenant("acme");
    let id = enqueue(&api, &quick("long"));
    let mine = lease(&api, "long");
    let started = std::time::Instant::now();
    wait::until_true("three leases' time", LONG, || {
        let answer = report(&api, &mine, "heartbeat", &json!({})).expect(200).json();
        assert_eq!((&answer["cancel"], &answer["drain"]), (&json!(false), &json!(false)), "{answer}");
        let body = json!({ "worker": "thief", "types": ["long"], "max": 1, "wait_s": 0 });
        assert_eq!(
            api.post("/api/v1/leases", &body).expect("answers").expect(200).json()["leases"],
            json!([])
        );
        started.elapsed() > Duration::from_secs(3)
    });
    let _ = report(&api, &mine, "complete", &json!({})).expect(200);
    let again = report(&api, &mine, "complete", &json!({})).expect(200);
    assert_eq!(again.status, 200, "a repeat under its lease returns the first outcome");
    Log::read(&api, "acme", "").assert_each_job_ended_once(&BTreeSet::from([id]));
}

#[test]
fn cancelling_reaches_the_worker_by_its_heartbeat() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let id = enqueue(&api, &quick("embed"));
    let mine = lease(&api, "embed");
    let cancelled =
        api.post(&format!("/api/v1/jobs/{id}/cancel"), &json!({})).expect("answers").expect(200).json();
    assert_eq!((&cancelled["state"], &cancelled["cancel_requested"]), (&json!("running"), &json!(true)));
    assert_eq!(report(&api, &mine, "heartbeat", &json!({})).expect(200).json()["cancel"], true);
    let _ = report(&api, &mine, "fail", &json!({ "message": "stopped" })).expect(200);
    let ends = Log::read(&api, "acme", "").assert_each_job_ended_once(&BTreeSet::from([id.clone()]));
    assert_eq!(ends[&id], "job.cancelled");
}

#[test]
fn a_job_that_loses_every_lease_fails_once() {
    let server = ServerOptions::new().set("jobs.lease", "500ms").start();
    let api = server.tenant("acme");
    let mut body = quick("doomed");
    body["max_attempts"] = json!(2);
    let id = enqueue(&api, &body);
    let _ = [lease(&api, "doomed"), lease(&api, "doomed")];
    wait::until_true("the job to fail", LONG, || job(&api, &id)["state"] == "failed");
    let ends = Log::read(&api, "acme", "").assert_each_job_ended_once(&BTreeSet::from([id.clone()]));
    assert_eq!(ends[&id], "job.failed");
}

/// `tidings work` with a shell script; the script gets the folder to write into as `$1`.
fn worker(server: &Server, api: &Api, script: &str) -> Command {
    let token = api.token.as_deref().expect("a token");
    let mut command =
        server.client_command(token, &["work", "--type", "script", "--", "sh", "-c", script, "sh"]);
    command.arg(server.scratch());
    command
}

fn pid_in(path: &Path) -> u32 {
    wait::until("a pid file", LONG, || fs::read_to_string(path).ok()?.trim().parse().ok())
}

#[test]
fn a_worker_killed_mid_job_has_its_job_picked_up_by_another() {
    let server = ServerOptions::new().set("jobs.lease", "1s").start();
    let api = server.tenant("acme");
    let mut killed = worker(&server, &api, "echo $$ > $1/pid; exec sleep 600").spawn().expect("starts");
    let id = enqueue(&api, &quick("script"));
    let child = pid_in(&server.scratch().join("pid"));
    killed.kill().expect("it can be killed");
    killed.wait().expect("it ends");
    wait::until_true("the killed worker's child to die with it", LONG, || !is_alive(child));
    let mut heir =
        worker(&server, &api, "cat > $1/payload; echo '{\"by\":\"heir\"}'").spawn().expect("starts");
    wait::until_true("the job to be completed", LONG, || job(&api, &id)["state"] == "completed");
    let done = job(&api, &id);
    assert_eq!((&done["result"], &done["attempt"]), (&json!({ "by": "heir" }), &json!(2)), "{done}");
    signal(heir.id(), "TERM");
    let status = wait::until("the worker to stop", LONG, || heir.try_wait().expect("a child can be asked"));
    assert!(status.success(), "{status}");
    Log::read(&api, "acme", "").assert_each_job_ended_once(&BTreeSet::from([id]));
}

#[test]
fn a_stopping_worker_gives_its_job_back_without_spending_an_attempt() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let mut stopped = worker(&server, &api, "echo $$ > $1/pid; exec sleep 600").spawn().expect("starts");
    let id = enqueue(&api, &quick("script"));
    let child = pid_in(&server.scratch().join("pid"));
    signal(stopped.id(), "TERM");
    wait::until("the worker to stop", LONG, || stopped.try_wait().expect("a child can be asked"));
    wait::until_true("its child to die", LONG, || !is_alive(child));
    let next = lease(&api, "script");
    assert_eq!((&next["job"]["id"], &next["attempt"]), (&json!(id), &json!(1)), "{next}");
    let _ = report(&api, &next, "complete", &json!({})).expect(200);
    Log::read(&api, "acme", "").assert_each_job_ended_once(&BTreeSet::from([id]));
}

#[test]
fn exit_status_and_progress_of_a_script_become_the_jobs() {
    let server = Server::plain();
    let api = server.tenant("acme");
    let script = r#"echo '{"percent":40,"message":"reading"}' >&3; case $(cat) in
        *fine*) echo '{"words":3}';; *later*) [ -e "$1/again" ] || { touch "$1/again"; exit 75; };; *) echo boom >&2; exit 3;; esac"#;
    let mut work = worker(&server, &api, script).spawn().expect("starts");
    let with = |payload: &str| {
        let mut body = quick("script");
        body["payload"] = json!(payload);
        enqueue(&api, &body)
    };
    let (fine, later, bad) = (with("fine"), with("later"), with("bad"));
    let state = |id: &str| job(&api, id)["state"].as_str().expect("a state").to_owned();
    wait::until_true("all to end", LONG, || {
        state(&fine) == "completed"
            && state(&later) == "completed"
            && matches!(&*state(&bad), "failed" | "scheduled")
    });
    assert_eq!(job(&api, &fine)["result"], json!({ "words": 3 }));
    assert_eq!(job(&api, &later)["attempt"], 2);
    assert_eq!(job(&api, &bad)["error"]["message"], "boom");
    let log = Log::read(&api, "acme", "");
    let progress =
        log.reads().filter(|e| e.text("type") == Some("job.progress") && e.text("job_id") == Some(&*fine));
    assert_eq!(progress.map(|e| e.value["data"]["percent"].clone()).collect::<Vec<_>>(), [json!(40)]);
    signal(work.id(), "TERM");
    wait::until("the worker to stop", LONG, || work.try_wait().expect("a child can be asked"));
}

#[test]
fn a_worker_key_for_several_tenants_claims_from_each_and_reads_nothing() {
    let server = Server::plain();
    let tenants = ["one-co", "two-co", "three-co"];
    let [one, two, three] = tenants.map(|t| server.tenant(t));
    let key = json!({ "name": "fleet", "scopes": ["jobs:work"], "tenants": ["one-co", "two-co"] });
    let key = server.admin().post("/api/v1/keys", &key).expect("answers").expect(201).json();
    let fleet = server.anonymous().with_token(key["key"].as_str().expect("a key"));
    // One tenant has a hundred times as much waiting: the other is served at once all the same.
    let many: Vec<_> = (0..100).map(|_| quick("fleet")).collect();
    let _ = one.post("/api/v1/jobs", &many).expect("answers").expect(201);
    let _ = (enqueue(&two, &quick("fleet")), enqueue(&three, &quick("fleet")));
    let body = json!({ "worker": "w", "types": ["fleet"], "max": 10, "wait_s": 0 });
    let leases = fleet.post("/api/v1/leases", &body).expect("answers").expect(200).json();
    let leases = leases["leases"].as_array().expect("leases");
    let of = |tenant: &str| leases.iter().filter(|l| l["job"]["tenant_id"] == tenant).count();
    assert_eq!((of("one-co"), of("two-co"), of("three-co")), (9, 1, 0));
    for lease in leases {
        let _ = report(&fleet, lease, "complete", &json!({})).expect(200);
    }
    for path in ["/api/v1/events", "/api/v1/jobs", "/api/v1/queues"] {
        let reply = fleet.get(path).expect("answers");
        assert!(matches!(reply.status, 400 | 403), "{path}: {}", reply.status);
    }
}
