use std::{io::BufRead as _, process::Stdio};

use crate::harness::{Running, Server};

fn numbers(from: u64, to: u64) -> String {
    (from..=to).fold(String::new(), |text, n| text + &format!("{{\"n\":{n}}}\n"))
}

#[test]
fn every_transport_prints_the_same_bytes() {
    let server = Server::start(&[]);
    server.ok_with(&["publish", "count.up", "-"], &numbers(1, 1_200));
    let websocket = server.ok(&["tail", "--since", "0", "--count", "1200", "--json"]);
    let sse = server.ok(&["tail", "--since", "0", "--count", "1200", "--json", "--sse"]);
    assert_eq!(websocket.lines().count(), 1_200);
    assert!(websocket == sse, "WebSocket and SSE differ");
    for (line, n) in websocket.lines().zip(1..) {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((event["seq"].as_u64(), event["data"]["n"].as_u64()), (Some(n), Some(n)));
    }
    assert_eq!(
        server.ok(&["tail", "--since", "0", "--types", "none.*,count.*", "--count", "3"]).lines().count(),
        3
    );
}

/// A tail sees every event once, whatever happens to the server meanwhile.
#[test]
fn a_live_tail_survives_a_killed_server() {
    for transport in [&[][..], &["--sse"]] {
        let mut server = Server::start(&[]);
        server.ok_with(&["publish", "count.up", "-"], &numbers(1, 10));
        let mut command = server.command(&["tail", "--since", "0", "--count", "30", "--json"]);
        command.args(transport).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut tail = Running(command.spawn().expect("it runs"));
        let mut lines = std::io::BufReader::new(tail.0.stdout.take().expect("piped")).lines();
        let mut next = || {
            let line = lines.next().expect("goes on").expect("reads");
            serde_json::from_str::<serde_json::Value>(&line).expect("JSON")["seq"].as_u64().expect("a number")
        };
        let mut seqs: Vec<u64> = (0..10).map(|_| next()).collect();
        server.restart(&[]);
        server.ok_with(&["publish", "count.up", "-"], &numbers(11, 20));
        seqs.extend((0..10).map(|_| next()));
        server.restart(&[]);
        server.ok_with(&["publish", "count.up", "-"], &numbers(21, 30));
        seqs.extend((0..10).map(|_| next()));
        assert_eq!(seqs, (1..=30).collect::<Vec<_>>(), "{transport:?}");
        assert!(tail.0.wait().expect("it ends").success());
    }
}

/// As in `tidings tail | head -1`: it does not wait for another event to find out.
#[test]
fn a_tail_that_nobody_reads_ends() {
    let server = Server::start(&[]);
    server.ok_with(&["publish", "count.up", "-"], &numbers(1, 1));
    let mut command = server.command(&["tail", "--since", "0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut tail = Running(command.spawn().expect("it runs"));
    let mut reader = std::io::BufReader::new(tail.0.stdout.take().expect("piped"));
    reader.read_line(&mut String::new()).expect("reads");
    drop(reader);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let status = loop {
        if let Some(status) = tail.0.try_wait().expect("a child can be asked") {
            break status;
        }
        assert!(std::time::Instant::now() < deadline, "it still runs");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    };
    assert!(status.success());
}

#[test]
fn a_cursor_file_goes_on_where_it_stopped() {
    let server = Server::start(&[]);
    server.ok_with(&["publish", "count.up", "-"], &numbers(1, 5));
    let tail = |count: &str| {
        server.ok(&["tail", "--since", "0", "--cursor-file", "cursor", "--count", count, "--json"])
    };
    assert_eq!(tail("3").lines().count(), 3);
    let rest = tail("2");
    assert!(rest.starts_with("{\"seq\":4,"), "{rest}");
    server.ok(&["publish", "last.one"]);
    assert!(tail("1").contains("last.one"));
}

#[test]
fn whole_events_come_from_stdin() {
    let server = Server::start(&[]);
    let lines = "{\"type\":\"a.b\",\"data\":1,\"subject\":\"x/1\"}\n\n{\"type\":\"c\"}\n";
    let published = server.ok_with(&["publish", "-", "--json"], lines);
    assert_eq!(published.lines().count(), 2);
    let events = server.ok(&["tail", "--since", "0", "--count", "2", "--json"]);
    assert!(events.contains(r#""type":"a.b""#) && events.contains(r#""subject":"x/1","data":1}"#));
    assert!(events.contains(r#""type":"c""#) && events.contains(r#""data":null}"#));
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let server = Server::start(&[]);
    server.ok_with(&["publish", "count.up", "-"], &numbers(1, 5_000));
    let bin = env!("CARGO_BIN_EXE_tidings");
    let script = format!("{bin} tail --since 0 --json | head -n 1");
    let output = std::process::Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {script}")])
        .current_dir(server.path(""))
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("error"));
}
