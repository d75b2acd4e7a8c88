use std::{path::Path, process::Stdio};

use crate::harness::{Running, eventually, signal, tidings};

const WARNING: &str = "the limits can need more file descriptors than this process may open";

/// What limits can need that are no connections of clients: 4,096 for webhooks, and a reserve.
const OTHERS: usize = 4_096 + 256;

/// A server of `folder/tidings.toml` that may open 5,000 descriptors, and is told so only when it asks for more than 500.
fn serve(folder: &Path) -> Running {
    let command = tidings(folder);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 5000 && ulimit -S -n 500 && exec \"$0\" \"$@\""]);
    limited.arg(command.get_program()).args(["serve", "--config", "tidings.toml"]).current_dir(folder);
    for (name, _) in command.get_envs().filter(|(_, value)| value.is_none()) {
        limited.env_remove(name);
    }
    let log = std::fs::File::create(folder.join("log")).expect("a file");
    let child = limited.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    let server = Running(child.expect("it runs"));
    eventually("the server listens", || folder.join("data/server.json").exists().then_some(()));
    server
}

fn catches_hangup(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a line");
    u64::from_str_radix(caught.trim(), 16).expect("a mask") & 1 == 1
}

#[test]
fn limits_beyond_the_descriptors_of_the_process_are_warned_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let configure = |connections: usize| {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nops_listen = \"127.0.0.1:0\"\n[limits]\nconnections = {connections}\n\
             listener_connections = 200\nrequests_in_flight = 100\n"
        );
        std::fs::write(folder.join("tidings.toml"), text).expect("writes");
    };
    let log = || std::fs::read_to_string(folder.join("log")).expect("a log");
    let most = 5_000 - OTHERS - 2 * 200;

    configure(most);
    let mut server = serve(folder);
    assert!(!log().contains(WARNING), "it has raised its limit, which is enough: {}", log());
    configure(most + 1);
    // It would end the process before.
    eventually("it catches SIGHUP", || catches_hangup(server.0.id()).then_some(()));
    signal("HUP", server.0.id());
    eventually("it has reloaded", || log().contains("reloaded the configuration").then_some(()));
    let warned = |log: &str| {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(WARNING)).collect();
        assert_eq!(lines.len(), 1, "{log}");
        assert!(lines[0].contains("ulimit -n") && lines[0].contains("limits.connections"), "{log}");
        assert!(lines[0].contains("allowed\":5000") && lines[0].contains("needed\":5001"), "{log}");
    };
    warned(&log());
    server.terminate();

    let mut server = serve(folder);
    warned(&log());
    server.terminate();
}
