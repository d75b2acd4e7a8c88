//! The binary on a private PostgreSQL and a private Redis.

use std::{process::Output, sync::LazyLock};

use tidings_testkit::{Postgres, Redis};

use crate::harness::{Server, tidings};

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
