use crate::harness::Server;

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
