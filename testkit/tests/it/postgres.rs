use std::{io::Write as _, net::TcpStream, time::Duration};

use tidings_testkit::{Postgres, is_alive, wait};

#[test]
fn a_killed_server_comes_back_with_what_it_had() {
    let postgres = Postgres::start();
    let url = postgres.database("kept");
    assert_eq!(url, format!("postgres://postgres@{}/kept", postgres.addr()));
    postgres.psql("kept", "CREATE TABLE t AS SELECT 42 AS n");
    let before = postgres.pid();
    postgres.kill9();
    assert!(!is_alive(before));
    assert!(TcpStream::connect(postgres.addr()).is_err(), "nobody listens any more");
    postgres.restart();
    assert_ne!(postgres.pid(), before);
    assert_eq!(postgres.psql("kept", "SELECT n FROM t"), "42");
    assert!(postgres.log().contains("automatic recovery in progress"), "{}", postgres.log());
}

#[test]
fn an_orderly_restart_recovers_nothing() {
    let postgres = Postgres::start();
    postgres.stop();
    postgres.restart();
    assert!(!postgres.log().contains("automatic recovery"), "{}", postgres.log());
}

#[test]
fn settings_hold_and_databases_are_apart() {
    let postgres = Postgres::options().set("max_connections", 17).start();
    assert_eq!(postgres.psql("postgres", "SHOW max_connections"), "17");
    assert_eq!(postgres.psql("postgres", "SHOW fsync"), "on");
    let names: Vec<_> = (0..2).map(|_| postgres.fresh_database()).collect();
    assert_ne!(names[0], names[1]);
    let name = names[0].rsplit_once('/').unwrap().1;
    assert_eq!(postgres.psql(name, "SELECT current_database()"), name);
}

#[test]
fn a_paused_server_answers_nobody_and_then_does() {
    let postgres = Postgres::start();
    postgres.pause();
    // An SSLRequest, which a server answers with one letter: the kernel takes it, and nobody reads it.
    let mut asked = TcpStream::connect(postgres.addr()).unwrap();
    asked.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).unwrap();
    asked.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(asked.peek(&mut [0]).is_err(), "it answers while it is stopped");
    postgres.resume();
    wait::until_true("the answer", wait::LONG, || asked.peek(&mut [0]).is_ok_and(|n| n == 1));
}

#[test]
fn dropping_it_leaves_nothing() {
    let postgres = Postgres::start();
    let (pid, folder) = (postgres.pid(), postgres.socket_folder().to_owned());
    assert!(folder.join("data/PG_VERSION").exists());
    drop(postgres);
    assert!(!is_alive(pid));
    assert!(!folder.exists());
}
