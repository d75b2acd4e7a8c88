use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::OnceLock,
};

use tidings_testkit::{Redis, is_alive, signal, wait};

/// Set for the process that the next test starts and kills.
const ROLE: &str = "TIDINGS_TESTKIT_ROLE";

static REDIS: OnceLock<Redis> = OnceLock::new();

#[test]
fn children_end_with_a_killed_test_and_not_with_its_thread() {
    if env::var_os(ROLE).is_some() {
        return be_the_parent();
    }
    let this = "process::children_end_with_a_killed_test_and_not_with_its_thread";
    let mut test = Command::new(env::current_exe().unwrap())
        .args(["--exact", this, "--nocapture"])
        .env(ROLE, "parent")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(test.stdout.take().unwrap()).lines().map_while(Result::ok);
    let pid: u32 =
        lines.into_iter().find_map(|line| line.strip_prefix("child ")?.parse().ok()).expect("its child's id");
    assert!(is_alive(pid));
    signal(test.id(), "KILL");
    test.wait().unwrap();
    wait::until_true("the child to end", wait::LONG, || !is_alive(pid));
}

fn be_the_parent() {
    std::thread::spawn(|| REDIS.get_or_init(Redis::start).addr()).join().unwrap();
    let pid = REDIS.get().unwrap().cli(&["INFO", "server"]);
    let pid = pid.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap();
    println!("\nchild {}", pid.trim());
    wait::pause(wait::LONG);
}
