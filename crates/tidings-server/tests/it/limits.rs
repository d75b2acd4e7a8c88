//! The limits in force, as the metrics show them.

use std::collections::BTreeMap;

use tidings_server::{
    Server,
    config::{Loaded, Sources},
};

use crate::{lifecycle::fetch, site::folder};

/// By family and key.
type Shown = BTreeMap<(String, String), f64>;

async fn shown(server: &Server) -> Shown {
    let ops = server.ops_address().expect("on");
    let scraped = fetch(ops, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let of_line = |line: &str| {
        let (family, rest) = line.split_once("{limit=\"")?;
        let (key, value) = rest.split_once("\"} ")?;
        let value = value.parse().expect("a number");
        family.starts_with("limit").then(|| ((family.to_owned(), key.to_owned()), value))
    };
    scraped.lines().filter_map(of_line).collect()
}

fn value(shown: &Shown, family: &str, key: &str) -> Option<f64> {
    shown.get(&(family.to_owned(), key.to_owned())).copied()
}

#[tokio::test]
async fn each_limit_in_force_is_in_the_metrics_and_those_of_a_reload_take_their_place() {
    let folder = folder();
    std::fs::create_dir_all(&folder).expect("makes a folder");
    let file = folder.join("tidings.toml");
    let data = folder.join("data");
    let write = |more: &str| {
        let server =
            format!("[server]\nlisten = \"127.0.0.1:0\"\nops_listen = \"127.0.0.1:0\"\ndata = {data:?}\n");
        std::fs::write(&file, server + more).expect("writes");
    };
    write(
        "[limits]\nlag = \"off\"\nrequests_per_key = \"90/m\"\n[jobs.concurrency]\nembedding = 4\nresize_bytes = 2\n",
    );
    let loaded = Loaded::load(Sources { file: Some(file.clone()), ..Sources::default() }).expect("loads");
    let rows = loaded.rows();
    let server = Server::start(loaded).await.expect("starts");

    let before = shown(&server).await;
    for (family, key, expected) in [
        ("limit", "limits.connections_per_ip", Some(10.0)),
        ("limit", "limits.lag", None),
        ("limit", "jobs.concurrency.embedding", Some(4.0)),
        ("limit", "jobs.concurrency.resize_bytes", Some(2.0)),
        ("limit_bytes", "limits.body_bytes", Some(1_048_576.0)),
        ("limit_seconds", "limits.header_timeout", Some(10.0)),
        ("limit_seconds", "limits.refusal_delay", Some(0.1)),
        ("limit_per_second", "limits.requests_per_key", Some(1.5)),
        ("limit_burst", "limits.requests_per_key", Some(180.0)),
        ("limit_per_second", "limits.upgrades_per_ip", Some(10.0)),
        ("limit_burst", "limits.upgrades_per_ip", Some(20.0)),
        ("limit_burst", "limits.new_tenants", Some(100.0)),
    ] {
        assert_eq!(value(&before, family, key), expected, "{family} of {key} in {before:?}");
    }
    // What `tidings config` prints is here, each once; a rate has its burst beside it.
    for row in rows.iter().filter(|row| row.key.starts_with("limits.")) {
        let families = before.keys().filter(|(family, key)| *key == row.key && family != "limit_burst");
        assert_eq!(families.count(), usize::from(row.value != "\"off\""), "{row:?} in {before:?}");
    }

    write("[limits]\nlag = 70\nupgrades_per_ip = \"5/s\"\nconnections_per_user = \"off\"\n");
    server.reload().expect("reloads");
    let after = shown(&server).await;
    for (family, key, expected) in [
        ("limit", "limits.lag", Some(70.0)),
        ("limit", "limits.connections_per_user", None),
        ("limit", "jobs.concurrency.embedding", None),
        ("limit_per_second", "limits.requests_per_key", None),
        ("limit_burst", "limits.requests_per_key", None),
        ("limit_per_second", "limits.upgrades_per_ip", Some(5.0)),
        ("limit_burst", "limits.upgrades_per_ip", Some(10.0)),
        ("limit", "limits.connections_per_ip", Some(10.0)),
    ] {
        assert_eq!(value(&after, family, key), expected, "{family} of {key} in {after:?}");
    }

    write("[limits]\nlag = 0\n");
    server.reload().expect_err("is refused");
    assert_eq!(shown(&server).await, after, "everything stays as it was");
    server.stop().await;
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}
