use std::{os::unix::process::ExitStatusExt as _, process::Stdio};

use crate::harness::{Running, Server, eventually};

fn exported(server: &Server) -> serde_json::Value {
    let list = server.ok(&["jobs", "list", "--type", "export", "--json"]);
    serde_json::from_str(list.lines().next().expect("a job")).expect("JSON")
}

#[test]
fn the_exit_status_and_the_output_are_the_commands_own() {
    let server = Server::start(&[]);
    // A worker of the same type waits and must not get it.
    let _rival = server.worker("export", "echo stolen");
    let script = r#"echo '{"percent":30}' >&3; echo out; echo err >&2; exit 7"#;
    let output = server.run(&["exec", "--type", "export", "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"out\n");
    assert!(String::from_utf8_lossy(&output.stderr).ends_with("err\n"));
    let job = exported(&server);
    assert_eq!((&job["state"], &job["attempt"]), (&"failed".into(), &1.into()));

    assert_eq!(
        server.ok_with(&["exec", "--type", "export", "--", "cat"], "{\"rows\": 3}\n"),
        "{\"rows\": 3}\n"
    );
    let job = exported(&server);
    assert_eq!((&job["state"], &job["result"]["rows"]), (&"completed".into(), &3.into()));
}

#[test]
fn an_interrupted_command_is_not_left_running_and_its_job_fails() {
    let server = Server::start(&[]);
    let mut exec = Running(
        server
            .command(&["exec", "--type", "export", "--", "sleep", "60"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs"),
    );
    eventually("it runs", || {
        server.ok(&["jobs", "list", "--type", "export", "--json"]).contains("running").then_some(())
    });
    let status = exec.terminate();
    assert_eq!((status.code(), status.signal()), (Some(128 + 15), None));
    let job = exported(&server);
    assert_eq!((&job["state"], &job["error"]["category"]), (&"failed".into(), &"cancelled".into()));
}
