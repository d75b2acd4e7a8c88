use crate::harness::Server;

#[test]
fn a_deleted_tenant_is_made_anew_by_a_token_as_the_help_says() {
    let server = Server::start(&[]);
    let token = server.ok(&["token", "--tenant", "acme", "--scope", "events:publish"]);
    let publish = ["publish", "note.created", "--token", token.trim()];
    let listed = || server.ok(&["tenants", "list"]).contains("acme");
    server.ok(&publish);
    // While it is suspended, the token makes nothing.
    server.ok(&["tenants", "suspend", "acme"]);
    assert_eq!(server.run(&publish).status.code(), Some(3));
    server.ok(&["tenants", "delete", "acme", "--yes"]);
    assert!(!listed());
    server.ok(&publish);
    assert!(listed());
    let help = server.ok(&["tenants", "delete", "--help"]);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("the use of one makes the tenant anew"), "{help}");
}

#[test]
fn where_operators_alone_make_tenants_a_deleted_one_stays_away() {
    let server = Server::start(&["tenants.create=explicit"]);
    server.ok(&["tenants", "create", "acme"]);
    let token = server.ok(&["token", "--tenant", "acme", "--scope", "events:publish"]);
    let publish = ["publish", "note.created", "--token", token.trim()];
    server.ok(&publish);
    server.ok(&["tenants", "delete", "acme", "--yes"]);
    assert_eq!(server.run(&publish).status.code(), Some(4));
}

#[test]
fn each_of_its_commands_takes_the_server_and_the_credential() {
    let server = Server::start(&[]);
    let key = server.data().join("admin.key");
    let target = ["--url", server.url(), "--token-file", key.to_str().expect("text")];
    for args in [
        &["tenants", "create", "acme"][..],
        &["tenants", "list"],
        &["tenants", "show", "acme"],
        &["tenants", "suspend", "acme"],
        &["tenants", "resume", "acme"],
        &["tenants", "renew-epoch", "acme"],
        &["tenants", "delete", "acme", "--yes"],
    ] {
        server.ok(&[args, &target[..]].concat());
    }
}
