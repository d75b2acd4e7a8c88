use serde_json::json;

use crate::harness::{Server, eventually, is_alive, signal};

/// Short leases, so that a lost one is soon noticed.
const SHORT: &[&str] = &["jobs.lease=1s"];

#[test]
fn a_command_gets_the_payload_and_gives_progress_and_a_result() {
    let server = Server::start(&[]);
    let id =
        server.ok(&["jobs", "enqueue", "index", r#"{"file":"a b"}"#, "--subject", "doc/a"]).trim().to_owned();
    let _worker = server.worker(
        "index",
        r#"read payload
           echo '{"percent":10,"message":"one"}' >&3
           echo 'no progress' >&3
           echo '{"percent":100}' >&3
           echo "{\"payload\":$payload,\"id\":\"$TIDINGS_JOB_ID\",\"type\":\"$TIDINGS_JOB_TYPE\",\"attempt\":$TIDINGS_JOB_ATTEMPT,\"tenant\":\"$TIDINGS_JOB_TENANT\"}""#,
    );
    let job = server.wait_for_state(&id, "completed");
    let result =
        json!({ "payload": { "file": "a b" }, "id": id, "type": "index", "attempt": 1, "tenant": "default" });
    assert_eq!(job["result"], result);
    assert_eq!(job["percent"], 100, "the last progress goes out before the end");
    let story = server.story(&id);
    assert_eq!((story[0].as_str(), story[1].as_str()), ("job.queued", "job.started"));
    assert_eq!(story.last().expect("some"), "job.completed");
}

#[test]
fn the_exit_status_decides() {
    let server = Server::start(&[]);
    let fails = server.enqueue("fails");
    let _fails = server.worker("fails", "echo first >&2; echo 'the reason' >&2; exit 3");
    let job = server.wait_for_state(&fails, "failed");
    assert_eq!(job["attempt"], 1, "a failure is for good");
    assert_eq!(job["error"]["raw"], "first\nthe reason");

    let later = server.enqueue("later");
    let tried = server.path("tried");
    let script = format!("test -e {0} && exit 0; touch {0}; exit 75", tried.display());
    let _later = server.worker("later", &script);
    let job = server.wait_for_state(&later, "completed");
    assert_eq!(job["attempt"], 2);
    assert!(server.story(&later).contains(&"job.retrying".to_owned()));
}

#[test]
fn a_job_may_take_longer_than_its_lease() {
    let server = Server::start(SHORT);
    let id = server.enqueue("long");
    let _worker = server.worker("long", "sleep 3.5");
    let job = server.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 1);
}

#[test]
fn a_stopped_worker_gives_its_job_back() {
    let server = Server::start(&[]);
    let id = server.enqueue("slow");
    let mut worker = server.worker("slow", "sleep 60");
    server.wait_for_state(&id, "running");
    assert!(worker.terminate().success());
    let job = server.job(&id);
    assert_eq!((job["state"].as_str(), job["attempt"].as_u64()), (Some("scheduled"), Some(0)));
    let _next = server.worker("slow", "exit 0");
    assert_eq!(server.wait_for_state(&id, "completed")["attempt"], 1, "no attempt was spent");
}

/// Nothing of a killed worker's command runs on beside the next worker's.
#[test]
fn a_killed_workers_command_dies_with_all_it_started_and_another_gets_the_job() {
    let server = Server::start(SHORT);
    let id = server.enqueue("slow");
    let pids = server.path("pids");
    let script = format!("sleep 60 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", pids.display());
    let mut worker = server.worker("slow", &script);
    let pids = eventually("the command runs", || std::fs::read_to_string(&pids).ok());
    worker.kill();
    eventually("all of it is dead", || (!pids.split_whitespace().any(is_alive)).then_some(()));
    let _next = server.worker("slow", "exit 0");
    let job = server.wait_for_state(&id, "completed");
    assert_eq!(job["attempt"], 2);
    let terminal = server.story(&id).iter().filter(|t| *t == "job.completed" || *t == "job.failed").count();
    assert_eq!(terminal, 1);
}

/// A worker that was out for longer than its lease finds it lost: it stops its command and reports nothing.
#[test]
fn a_stalled_worker_loses_its_job_and_stops_its_command() {
    let server = Server::start(SHORT);
    let id = server.enqueue("slow");
    let pid = server.path("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 60", pid.display());
    let worker = server.worker("slow", &script);
    let pid = eventually("the command runs", || std::fs::read_to_string(&pid).ok());
    signal("STOP", worker.0.id());
    let _next = server.worker("slow", "echo '\"by the other\"'");
    let job = server.wait_for_state(&id, "completed");
    signal("CONT", worker.0.id());
    eventually("the command is stopped", || (!is_alive(&pid)).then_some(()));
    assert_eq!((&job["attempt"], &job["result"]), (&json!(2), &json!("by the other")));
    assert_eq!(server.story(&id).iter().filter(|kind| *kind == "job.completed").count(), 1);
}

#[test]
fn cancelling_stops_the_command() {
    let server = Server::start(SHORT);
    let id = server.enqueue("slow");
    let told = server.path("told");
    let script = format!("trap 'touch {}; exit 143' TERM; sleep 60 & wait", told.display());
    let _worker = server.worker("slow", &script);
    server.wait_for_state(&id, "running");
    server.ok(&["jobs", "cancel", &id]);
    server.wait_for_state(&id, "cancelled");
    assert!(told.exists(), "it was asked before it was killed");
    assert_eq!(server.story(&id).last().expect("some"), "job.cancelled");
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_after_the_grace() {
    let server = Server::start(SHORT);
    let id = server.enqueue("stubborn");
    let _worker = server.worker("stubborn", "trap '' TERM; while :; do sleep 0.1; done");
    server.wait_for_state(&id, "running");
    server.ok(&["jobs", "cancel", &id]);
    server.wait_for_state(&id, "cancelled");
}

#[test]
fn a_worker_outlives_its_server() {
    let mut server = Server::start(&[]);
    let _worker = server.worker("echo", "cat");
    let first = server.enqueue("echo");
    server.wait_for_state(&first, "completed");
    server.restart(&[]);
    let second = server.enqueue("echo");
    server.wait_for_state(&second, "completed");
}
