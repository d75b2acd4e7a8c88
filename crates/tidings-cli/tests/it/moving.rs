//! A data folder's tenants go to another store, and everything goes on there.

use crate::harness::Server;

#[test]
fn what_was_exported_goes_on_in_another_folder() {
    let mut old = Server::start(&[]);
    old.ok(&["publish", "note.created", "{\"n\":1}"]);
    let job = old.enqueue("index");
    let hook = old.ok(&["webhooks", "create", "https://93.184.216.34/hook"]);
    let hook = hook.lines().next().expect("an id").to_owned();
    let before = old.ok(&["tail", "--since", "0", "--count", "2", "--json"]);
    old.stop();
    let archive = old.path("archive.ndjson");
    let archive = archive.to_str().expect("text");
    let export = old.command(&["export", archive]).output().expect("it runs");
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    assert!(
        String::from_utf8_lossy(&export.stderr)
            .contains("1 tenant, 2 events, 1 job, 0 schedules, 1 webhook endpoint, 1 key")
    );
    let again = old.command(&["export", archive]).output().expect("it runs");
    assert_eq!(again.status.code(), Some(2), "a file is never overwritten");

    let mut new = Server::start(&[]);
    new.stop();
    let import = new.command(&["import", archive]).output().expect("it runs");
    assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
    new.start_again(&[]);
    assert_eq!(new.ok(&["tail", "--since", "0", "--count", "2", "--json"]), before, "byte for byte");
    assert_eq!(new.job(&job)["state"], "queued");
    assert!(new.ok(&["webhooks", "show", &hook]).contains("cursor         2"));
    new.ok(&["publish", "note.created", "{\"n\":2}"]);
    let after = new.ok(&["tail", "--since", "2", "--count", "1", "--json"]);
    assert!(after.contains("\"seq\":3"), "{after}");
}

#[test]
fn a_running_servers_folder_is_not_exported() {
    let mut server = Server::start(&[]);
    let archive = server.path("archive.ndjson");
    let export = |server: &Server| server.run(&["export", archive.to_str().expect("text")]);
    let refused = export(&server);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said.starts_with("error: the data folder") && said.contains("in use by another server"),
        "{said}"
    );
    assert!(!archive.exists(), "the next try may have the name");
    server.stop();
    let done = export(&server);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_folder_without_a_store_is_neither_exported_nor_made() {
    let server = Server::start(&[]);
    for args in [&["export", "out.ndjson"][..], &["epoch", "renew", "--all"]] {
        let output = server.run(&[args, &["--data", "nosuch"]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("no store in nosuch"), "{args:?}: {said}");
        assert!(!server.path("nosuch").exists() && !server.path("out.ndjson").exists(), "{args:?}");
    }
}

#[test]
fn what_is_no_archive_is_refused_with_its_line() {
    let mut server = Server::start(&[]);
    server.stop();
    let file = server.path("nonsense");
    for (text, says) in [
        ("hello\n", "line 1 of the archive"),
        ("{\"tidings\":{\"version\":99}}\n", "version 1, not 99"),
        ("{\"tidings\":{\"version\":1}}\n", "cut off"),
    ] {
        std::fs::write(&file, text).expect("written");
        let out = server.command(&["import", file.to_str().expect("text")]).output().expect("it runs");
        let stderr = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(1) && stderr.contains(says), "{text}: {stderr}");
    }
}
