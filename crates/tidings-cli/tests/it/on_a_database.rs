//! The binary on a private PostgreSQL and a private Redis.

use std::{
    process::Output,
    sync::LazyLock,
    time::{Duration, Instant},
};

use tidings_testkit::{Postgres, Redis};

use crate::harness::{Server, eventually, tidings};

static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start);

const MASTER: &str = "secrets.master_key=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A command that needs no server, in a folder of its own.
fn alone(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    tidings(folder.path()).args(args).output().expect("it runs")
}

fn health(server: &Server) -> String {
    let output = server.run(&["health"]);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn after_a_move_the_old_administrators_key_counts_and_a_new_one_can_be_made() {
    let mut old = Server::start(&[]);
    let old_key = std::fs::read_to_string(old.data().join("admin.key")).expect("it is there");
    old.stop();
    let archive = old.path("archive.ndjson");
    let archive = archive.to_str().expect("text");
    old.ok(&["export", archive]);
    let store = format!("server.store={}", POSTGRES.fresh_database());
    let at = ["--set", store.as_str(), "--set", MASTER];
    let import = alone(&[&["import", archive], &at[..]].concat());
    assert!(import.status.success(), "{}", said(&import));

    let new = Server::start(&[&store, MASTER]);
    let none = alone(&[&["keys", "admin"], &at[..]].concat());
    assert_eq!(none.status.code(), Some(1));
    assert!(said(&none).contains("admin.key") && said(&none).contains("--make"), "{}", said(&none));
    new.ok(&["tenants", "list", "--url", new.url(), "--token", old_key.trim()]);
    let made = alone(&[&["keys", "admin", "--make"], &at[..]].concat());
    assert!(made.status.success(), "{}", said(&made));
    let key = String::from_utf8(made.stdout).expect("text");
    new.ok(&["tenants", "list", "--url", new.url(), "--token", key.trim()]);
    for again in [&["keys", "admin"][..], &["keys", "admin", "--make"]] {
        assert_eq!(alone(&[again, &at[..]].concat()).stdout, key.as_bytes(), "{again:?}");
    }
}

#[test]
fn what_needs_stopped_servers_is_refused_beside_one() {
    let mut old = Server::start(&[]);
    old.stop();
    old.ok(&["export", "archive.ndjson"]);
    let archive = old.path("archive.ndjson");
    let archive = archive.to_str().expect("text");
    let store = format!("server.store={}", POSTGRES.fresh_database());
    let at = ["--set", store.as_str(), "--set", MASTER];
    let mut server = Server::start(&[&store, MASTER]);
    for args in [&["import", archive][..], &["epoch", "renew", "--all"]] {
        let refused = alone(&[args, &at[..]].concat());
        assert_eq!(refused.status.code(), Some(1), "{args:?}: {}", said(&refused));
        assert!(said(&refused).contains("stop every server first"), "{args:?}: {}", said(&refused));
    }
    server.stop();
    // Its last word is a moment old, and no other follows.
    let done = alone(&[&["epoch", "renew", "--all"], &at[..]].concat());
    assert!(done.status.success(), "{}", said(&done));
}

#[test]
fn a_schema_of_a_later_release_is_not_called_up_to_date() {
    let url = POSTGRES.fresh_database();
    let name = url.rsplit('/').next().expect("a name");
    let migrate = |more: &[&str]| alone(&[&["migrate", "--store", &url], more].concat());
    assert!(migrate(&[]).status.success());
    POSTGRES.psql(name, "INSERT INTO tidings.migrations VALUES (98, 1)");
    let beside = migrate(&[]);
    assert!(beside.status.success() && said(&beside).contains("newer release"), "{}", said(&beside));
    POSTGRES.psql(name, "INSERT INTO tidings.migrations VALUES (99, 99)");
    for more in [&[][..], &["--check"]] {
        let refused = migrate(more);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        assert!(said(&refused).contains("the database was written by a newer release"), "{}", said(&refused));
    }
    let serve = alone(&["serve", "--store", &url, "--set", MASTER, "--listen", "127.0.0.1:0"]);
    assert!(said(&serve).contains("the database was written by a newer release"), "{}", said(&serve));
}

#[test]
fn a_wrong_configuration_of_the_store_is_wrong_usage_and_told_at_once() {
    let url = POSTGRES.fresh_database();
    for (url, part) in [
        ("postgres://", "names no host"),
        ("postgres://u:geheim@", "names no host"),
        ("postgres://u:geheim@h:99999/x", "port"),
        ("postgres://u:geheim@h/x?foo=bar", "foo"),
        ("postgres://u:geheim@h/x?sslmode=nonsense", "verify-full"),
        (url.as_str(), "secrets.master_key is missing"),
    ] {
        let began = Instant::now();
        let refused = alone(&["serve", "--store", url, "--listen", "127.0.0.1:0", "--ops-listen", "off"]);
        let text = said(&refused);
        assert_eq!(refused.status.code(), Some(2), "{url}: {text}");
        assert!(text.contains(part) && !text.contains("geheim"), "{url}: {text}");
        assert!(began.elapsed() < Duration::from_secs(20), "{url} is not tried until postgres.start_timeout");
    }
}

#[test]
fn the_configuration_says_what_it_leaves_degraded() {
    let output = alone(&["config", "--store", "postgres://u:geheim@h/x", "--set", "server.roles=api"]);
    let text = String::from_utf8(output.stdout).expect("text");
    let notes: Vec<_> = text.lines().filter(|line| line.starts_with("# degraded: ")).collect();
    let about = |what: &str| notes.iter().any(|note| note.contains(what));
    for what in ["server.redis", "secrets.master_key", "no scheduler", "no webhooks"] {
        assert!(about(what), "{what} of {text}");
    }
    assert!(!about("no api"), "{text}");
    let whole = alone(&["config", "--store", "postgres://h/x", "--redis", "redis://r", "--set", MASTER]);
    assert!(!String::from_utf8_lossy(&whole.stdout).contains("# degraded"));
    let json = alone(&["config", "--store", "postgres://h/x", "--json"]);
    assert!(serde_json::from_slice::<Vec<serde_json::Value>>(&json.stdout).is_ok());
}

#[test]
fn health_is_degraded_where_redis_refuses_what_is_needed_and_ok_again_with_the_right() {
    let redis = Redis::start();
    redis.cli(&["ACL", "SETUSER", "node", "on", ">geheim", "~tidings:*", "&tidings:*", "+@all"]);
    let address = redis.url().replacen("redis://", "redis://node:geheim@", 1);
    let store = format!("server.store={}", POSTGRES.fresh_database());
    let redis_at = format!("server.redis={address}");
    for (rule, undone) in [("-publish", "+publish"), ("-eval", "+eval"), ("resetchannels", "&tidings:*")] {
        redis.cli(&["ACL", "SETUSER", "node", rule]);
        let server = Server::start(&[&store, MASTER, &redis_at]);
        // Nobody publishes, nobody subscribes.
        eventually(&format!("{rule} is noticed"), || {
            let log = std::fs::read_to_string(server.path("log")).expect("it is there");
            (health(&server).starts_with("degraded") && log.contains("NoPerm")).then_some(())
        });
        redis.cli(&["ACL", "SETUSER", "node", undone]);
        eventually(&format!("{undone} is noticed"), || health(&server).starts_with("ok").then_some(()));
    }
}

#[test]
fn every_address_of_redis_is_kept_from_webhooks_and_shown() {
    let redis = Redis::start();
    let port = redis.addr().port();
    let store = format!("server.store={}", POSTGRES.fresh_database());
    let addresses = format!("server.redis=redis://127.0.0.1:{port},redis://127.0.0.9:{port}");
    let settings =
        [&store, MASTER, &addresses, "webhooks.allow_cidrs=127.0.0.0/8", "webhooks.allow_http=true"];
    let server = Server::start(&settings);
    for address in ["127.0.0.1", "127.0.0.9"] {
        let refused = server.run(&["webhooks", "create", &format!("http://{address}:{port}/")]);
        assert_eq!(refused.status.code(), Some(2), "{address}: {}", said(&refused));
    }
    server.ok(&["webhooks", "create", &format!("http://127.0.0.10:{port}/")]);
    let config = alone(&["config", "--set", &store, "--set", &addresses]);
    let shown = String::from_utf8(config.stdout).expect("text");
    assert!(shown.contains(addresses.trim_start_matches("server.redis=")), "{shown}");
}

/// As `docs/cluster.md` says.
#[test]
fn a_private_authority_of_redis_is_trusted_by_a_variable() {
    let redis = Redis::options().tls().start();
    let store = format!("server.store={}", POSTGRES.fresh_database());
    let redis_at = format!("server.redis={}", redis.url());
    let strict = Server::start(&[&store, MASTER, &redis_at]);
    eventually("the stranger is refused", || {
        let log = std::fs::read_to_string(strict.path("log")).expect("it is there");
        (health(&strict).starts_with("degraded") && log.contains("UnknownIssuer")).then_some(())
    });
    let authority = redis.ca_file().expect("it has one");
    let variables = [("SSL_CERT_FILE", authority.to_str().expect("text"))];
    let trusting = Server::start_with(&[&store, MASTER, &redis_at], &variables);
    eventually("the authority is trusted", || health(&trusting).starts_with("ok").then_some(()));
}

#[test]
fn a_probe_is_answered_within_its_second_where_the_database_hangs() {
    let postgres = Postgres::start();
    let server = Server::start(&[&format!("server.store={}", postgres.fresh_database()), MASTER]);
    eventually("it is healthy", || health(&server).starts_with("ok").then_some(()));
    postgres.pause();
    let address = server.url().trim_start_matches("http://").to_owned();
    // The answer of the last second is passed on; the first that is looked for anew is the slow one.
    let mut longest = Duration::ZERO;
    eventually("it is unavailable", || {
        let began = Instant::now();
        let answer = ask_ready(&address);
        longest = longest.max(began.elapsed());
        answer.starts_with("HTTP/1.1 503").then_some(())
    });
    postgres.resume();
    assert!(longest < Duration::from_secs(1), "{longest:?}");
}

fn ask_ready(address: &str) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    stream
        .write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}
