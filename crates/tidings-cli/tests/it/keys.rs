use crate::harness::{Server, tidings};

#[test]
fn a_key_of_no_tenant_says_how_it_is_revoked() {
    let server = Server::start(&[]);
    for reach in [&["--for-tenant", "one-co", "--for-tenant", "two-co"][..], &["--all-tenants"]] {
        let made = server.run(&[&["keys", "create", "fleet", "--scope", "jobs:work"], reach].concat());
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        assert!(made.status.success(), "{said}");
        let line = said.split('`').nth(1).unwrap_or_else(|| panic!("it names a command: {said}"));
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        assert_eq!((words.len(), words[3]), (4, "--operator"), "{line}");

        let lost = server.run(&words[..3]);
        let said = String::from_utf8_lossy(&lost.stderr).into_owned();
        assert_eq!(lost.status.code(), Some(4), "{said}");
        assert!(said.contains("--operator"), "{said}");
        server.ok(&words);
    }
}

#[test]
fn who_has_one_tenant_is_not_sent_to_other_keys() {
    let server = Server::start(&[]);
    let manager = server.ok(&["token", "--scope", "keys:manage"]);
    let nobodys = "019ab0c4-0000-7000-8000-000000000000";
    let lost = server.run(&["keys", "revoke", nobodys, "--token", manager.trim()]);
    let said = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert_eq!(lost.status.code(), Some(4), "{said}");
    assert!(!said.contains("--operator"), "{said}");
}

#[test]
fn what_a_flag_says_counts_before_the_environment() {
    let server = Server::start(&[]);
    let key = server.data().join("admin.key");
    let key = key.to_str().expect("text");
    let ok = |args: &[&str], variables: &[(&str, &str)]| {
        let output = server.command(args).envs(variables.iter().copied()).output().expect("it runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let of_acme = &[("TIDINGS_TENANT", "acme")];
    ok(&["keys", "create", "acmes", "--scope", "jobs:work"], of_acme);
    ok(&["keys", "create", "fleet", "--scope", "jobs:work", "--for-tenant", "one-co"], of_acme);
    ok(&["keys", "create", "all", "--scope", "jobs:work", "--all-tenants"], of_acme);
    let nobodys = ok(&["keys", "list", "--operator"], of_acme);
    assert!(nobodys.contains("fleet") && nobodys.contains("all") && !nobodys.contains("acmes"), "{nobodys}");
    let acmes = ok(&["keys", "list"], of_acme);
    assert!(acmes.contains("acmes") && !acmes.contains("fleet"), "{acmes}");
    let others = ok(&["keys", "list", "--tenant", "one-co"], of_acme);
    assert!(!others.contains("acmes"), "{others}");
    ok(&["keys", "list", "--token-file", key], &[("TIDINGS_TOKEN", "tdk_wrong")]);
    let wrong: &[(&[&str], &str, &str, i32)] = &[
        (&["keys", "list"], "TIDINGS_TOKEN", "tdk_wrong", 3),
        (&["keys", "list"], "TIDINGS_TENANT", "A b", 2),
        (&["keys", "list", "--operator", "--tenant", "acme"], "TIDINGS_TENANT", "acme", 2),
    ];
    for (args, name, value, status) in wrong {
        let output = server.command(args).env(name, value).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(*status), "{args:?}: {said}");
        assert!(!said.contains("tdk_wrong"), "{said}");
    }
}

/// A server on PostgreSQL leaves its address there, and keeps its keys in the database.
#[test]
fn a_token_is_signed_with_a_servers_key_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    for there in [false, true] {
        if there {
            std::fs::create_dir(&data).expect("made");
            std::fs::write(data.join("server.json"), r#"{"url":"http://127.0.0.1:1","pid":1}"#)
                .expect("written");
        }
        let args = ["token", "--scope", "events:read", "--data", "data"];
        let output = tidings(folder.path()).args(args).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("--store-file") && said.contains("data folder"), "{said}");
        assert!(output.stdout.is_empty());
    }
    let left: Vec<_> =
        std::fs::read_dir(&data).expect("it is there").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["server.json"], "no key was made");
}
