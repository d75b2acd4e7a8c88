use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Server, tidings};

#[test]
fn scripts_can_tell_why_a_command_failed() {
    let server = Server::start(&[]);
    let token = server.ok(&["token", "--tenant", "default", "--scope", "events:read"]);
    let token = token.trim();
    let nobody = ["--url", "http://127.0.0.1:1", "--token", "x"];
    let cases: &[(&[&str], i32)] = &[
        (&["jobs", "list"], 0),
        (&["jobs", "show", "019ab0c4-0000-7000-8000-000000000000"], 4),
        (&["jobs", "list", "--token", "tdk_wrong"], 3),
        (&["publish", "note.created", "--token", token], 3),
        (&["tail", "--types", "a", "--token", "tdk_wrong"], 3),
        (&["publish", "job.completed"], 2),
        (&["jobs", "enqueue", "x", "{broken"], 2),
        (&["nonsense"], 2),
        (&["tenants", "delete", "default"], 2),
        (&["jobs", "list", nobody[0], nobody[1], nobody[2], nobody[3]], 5),
        // The local administrator key is for the local server alone.
        (&["jobs", "list", "--url", "http://127.0.0.1:1"], 2),
        (&["config", "--set", "limits.lag=0"], 2),
        (&["serve", "--set", "limits.lag"], 2),
    ];
    for (args, status) in cases {
        let output = server.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(*status), "{args:?}: {said}");
        assert_eq!(said.is_empty(), *status == 0, "{args:?} says why: {said}");
    }
}

#[test]
fn what_the_server_finds_wrong_is_wrong_usage() {
    let server = Server::start(&[]);
    // More than limits.event_bytes: 413.
    let large = format!("\"{}\"", "x".repeat(70_000));
    let cases: &[&[&str]] = &[
        &["publish", "A.b"],
        &["publish", "job.x"],
        &["publish", "a.b", &large],
        &["jobs", "enqueue", "x", "--priority", "5000"],
        &["jobs", "enqueue", "x", "--max-attempts", "0"],
        &["jobs", "list", "--owner", "me"],
        &["keys", "create", "k", "--scope", "jobs:work", "--expires-in", "0s"],
        &["tail", "--job", "x"],
        &["tail", "--job", "x", "--sse"],
        &["tail", "--types", "a*b"],
        &["tail", "--owner", "me"],
        &["schedules", "put", "nightly", "99 * * * *", "report"],
        &["webhooks", "create", "http://127.0.0.1/hook"],
        &["webhooks", "create", "https://93.184.216.34/hook", "--rate", "fast"],
        &["webhooks", "create", "https://93.184.216.34/hook", "--header", "x-team"],
    ];
    for args in cases {
        let output = server.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(!said.is_empty() && !said.contains("{\"type\""), "{args:?}: {said}");
    }
}

/// What it answers to paths of the API says nothing about jobs or events.
#[test]
fn the_operators_address_is_told_from_the_apis() {
    let server = Server::start(&[]);
    let ops = server.ops_url();
    let target = ["--url", ops.as_str(), "--token-file", "data/admin.key"];
    for args in [
        &["jobs", "list"][..],
        &["jobs", "show", "019ab0c4-0000-7000-8000-000000000000"],
        &["publish", "note.created"],
        &["tail"],
        &["tail", "--sse"],
        &["keys", "list"],
        &["bench", "publish"],
    ] {
        let output = server.run(&[args, &target].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{args:?}: {said}");
        assert!(said.contains("server.ops_listen"), "{args:?}: {said}");
    }
}

/// An empty or zero value would make a credential or a report of no use.
#[test]
fn what_could_be_of_no_use_is_not_made() {
    let server = Server::start(&[]);
    let cases: &[(&[&str], &str)] = &[
        (&["token", "--scope", ""], "no scope"),
        (&["token", "--scope", "events:read", "--ttl", "0s"], "longer than zero"),
        (&["keys", "create", "k", "--scope", " "], "no scope"),
        (&["keys", "create", "k", "--scope", "events:read", "--all-tenants"], "events:read"),
        (&["keys", "create", "k", "--scope", "jobs:work jobs:write", "--for-tenant", "a"], "jobs:write"),
        (&["bench", "publish", "--seconds", "0s"], "longer than zero"),
        (&["bench", "fanout", "--subscribers", "0"], "at least 1"),
        (&["jobs", "list", "--limit", "0"], "at least 1"),
    ];
    for (args, why) in cases {
        let output = server.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(output.stdout.is_empty() && said.contains(why), "{args:?}: {said}");
    }
    server.ok(&["keys", "create", "k", "--scope", "jobs:work", "--all-tenants"]);
    server.ok(&["keys", "create", "k", "--scope", "system:admin events:read", "--all-tenants"]);
}

#[test]
fn a_benchmark_says_what_every_other_command_would() {
    let server = Server::start(&[]);
    let token = |scope: &str| server.ok(&["token", "--scope", scope]).trim().to_owned();
    let (reader, publisher) = (token("events:read jobs:read:all"), token("events:publish"));
    let url = server.url();
    let nowhere = "http://127.0.0.1:1";
    let cases: &[(&[&str], i32, &str)] = &[
        (&["bench", "publish", "--url", nowhere, "--token", "x"], 5, "Is the server running?"),
        (&["bench", "jobs", "--url", nowhere, "--token", "x"], 5, "Is the server running?"),
        (&["bench", "publish", "--url", url, "--token", "tdk_wrong"], 3, "The credential comes from"),
        (&["bench", "publish", "--url", url, "--token", &reader], 3, "events:publish"),
        (&["bench", "jobs", "--url", url, "--token", &reader], 3, "jobs:"),
        (&["bench", "fanout", "--subscribers", "1", "--url", url, "--token", &publisher], 3, "scope"),
        (&["bench", "publish", "--url", "https://127.0.0.1:1", "--token", "x"], 2, "plain http://"),
    ];
    for (args, status, why) in cases {
        let output = server.run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(*status), "{args:?}: {said}");
        assert!(said.contains(why) && !said.contains("{\"type\""), "{args:?}: {said}");
    }
}

#[test]
fn a_watched_job_gives_its_end_as_status() {
    let server = Server::start(&[]);
    let _good = server.worker("good", "echo 42");
    let _bad = server.worker("bad", "exit 1");
    let output = server.run(&["jobs", "enqueue", "good", "--watch"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).ends_with("42\n"));
    assert_eq!(server.run(&["jobs", "enqueue", "bad", "--watch"]).status.code(), Some(1));
}

#[test]
fn a_bad_line_of_stdin_is_named() {
    let server = Server::start(&[]);
    for args in [&["jobs", "enqueue", "x", "-"][..], &["publish", "note.created", "-"]] {
        let mut command = server.command(args);
        command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        std::io::Write::write_all(&mut stdin, b"1\n\n{broken\n").expect("takes them");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("line 3 of stdin") && said.contains("0 were sent"), "{said}");
    }
}

#[test]
fn without_a_server_it_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = tidings(folder.path()).args(["jobs", "list"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tidings serve"));
}

#[test]
fn a_first_start_keeps_its_keys_to_itself_and_prints_none() {
    let server = Server::start(&[]);
    for file in ["admin.key", "signing.key", "ticket.key"] {
        let mode = std::fs::metadata(server.data().join(file)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let key = std::fs::read_to_string(server.data().join("admin.key")).expect("reads");
    let log = std::fs::read_to_string(server.path("log")).expect("reads");
    assert!(log.contains("admin.key") && !log.contains(key.trim()));
}

#[test]
fn configuration_says_where_it_comes_from() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = tidings(folder.path())
        .args(["config", "--set", "limits.lag=7", "--json"])
        .env("TIDINGS_LIMITS__CONNECTIONS", "77")
        .output()
        .expect("it runs");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let origin = |key: &str| rows.iter().find(|row| row["key"] == key).expect("a row")["origin"].clone();
    assert_eq!(origin("limits.lag"), "--set limits.lag");
    assert_eq!(origin("limits.connections"), "TIDINGS_LIMITS__CONNECTIONS");
    assert_eq!(origin("server.listen"), "default");
    let unknown =
        tidings(folder.path()).args(["config", "--set", "limits.lagg=7"]).output().expect("it runs");
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("lagg"));
}
