use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::{Arc, Barrier},
    time::Duration,
};

use tidings_auth::{
    AuthConfig, Authenticator, Cause, ExposeSecret as _, KeysError, ServerKeys, TokenRequest, read_admin_key,
};
use tidings_core::{Clock as _, CredentialId, Scope, ScopeSet, SystemEntropy, Tenants};
use tidings_store::{Command, Store as _};

use crate::world::{World, cause, keys_in, scopes, tenant_id, user};

fn request() -> TokenRequest {
    TokenRequest {
        tenant: tenant_id("acme"),
        user: Some(user("ana")),
        scopes: scopes("events:read jobs:read:own"),
        subjects: Some(["note/*".parse().expect("valid")].into()),
        ttl: Duration::from_hours(1),
    }
}

#[tokio::test]
async fn a_token_of_the_server_counts_and_says_what_was_asked() {
    let world = World::new().await;
    let principal = world.bearer(&world.keys.issue(&request())).await.expect("passes");
    assert_eq!(principal.grant.tenants, Tenants::One(tenant_id("acme")));
    assert_eq!(principal.user(), Some(&user("ana")));
    assert_eq!(principal.grant.scopes, request().scopes);
    assert_eq!(principal.grant.subjects, request().subjects);
    assert_eq!(principal.expires_at, Some(world.clock.now() + Duration::from_hours(1)));
    assert!(tidings_auth::is_made_here(&principal.credential));
    let again = world.bearer(&world.keys.issue(&request())).await.expect("passes");
    assert_ne!(principal.credential, again.credential, "each has an id of its own");

    let admin = TokenRequest { scopes: ScopeSet::all(), user: None, ..request() };
    assert!(world.bearer(&world.keys.issue(&admin)).await.expect("passes").is_operator());
}

#[tokio::test]
async fn a_token_made_offline_in_the_same_folder_counts() {
    let world = World::new().await;
    let offline = keys_in(&world.folder.path().join("keys"), &world.clock);
    world.bearer(&offline.issue(&request())).await.expect("passes");
    let stranger = keys_in(&world.folder.path().join("other"), &world.clock);
    assert_eq!(cause(world.bearer(&stranger.issue(&request())).await), Cause::KeyId);
}

#[tokio::test]
async fn keys_are_private_and_never_overwritten() {
    let world = World::new().await;
    let folder = world.folder.path().join("keys");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut names: Vec<_> =
        fs::read_dir(&folder).expect("reads").map(|e| e.expect("reads").file_name()).collect();
    names.sort();
    assert_eq!(names, ["master.key", "signing.key", "ticket.key"], "no drafts are left");
    for name in names {
        assert_eq!(mode(&folder.join(name)), 0o600);
    }
    let before = fs::read(folder.join("signing.key")).expect("reads");
    keys_in(&folder, &world.clock);
    assert_eq!(fs::read(folder.join("signing.key")).expect("reads"), before);
    let shown = format!("{:?} {:?}", world.keys, world.auth);
    let secret = String::from_utf8(fs::read(folder.join("ticket.key")).expect("reads")).expect("text");
    assert!(!shown.contains(secret.trim()));
}

#[tokio::test]
async fn key_files_that_others_can_read_or_that_hold_something_else_are_refused() {
    let world = World::new().await;
    let folder = world.folder.path().join("keys");
    let open = || ServerKeys::open_or_create(&folder, Arc::new(SystemEntropy), Arc::new(world.clock.clone()));
    for file in ["master.key", "signing.key", "ticket.key"] {
        let path = folder.join(file);
        for mode in [0o640, 0o604, 0o660, 0o622] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changes");
            let error = open().expect_err("refused");
            assert!(matches!(&error, KeysError::Exposed { path: p, mode: m } if *p == path && *m == mode));
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changes");
        let good = fs::read(&path).expect("reads");
        for bad in ["", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            fs::write(&path, bad).expect("writes");
            assert!(matches!(open(), Err(KeysError::Malformed { .. })), "{bad}");
            assert_eq!(fs::read_to_string(&path).expect("reads"), bad, "left as it is");
        }
        fs::write(&path, good).expect("writes");
    }
    open().expect("all is well again");
    fs::remove_file(folder.join("ticket.key")).expect("removes");
    symlink("/nowhere/at/all", folder.join("ticket.key")).expect("links");
    assert!(matches!(open(), Err(KeysError::Io { .. })), "a dangling link is not followed into being");
}

#[tokio::test]
async fn several_that_make_the_keys_at_once_end_with_the_same() {
    let world = World::new().await;
    let folder = world.folder.path().join("raced");
    let barrier = Arc::new(Barrier::new(8));
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let (folder, barrier, clock) = (folder.clone(), barrier.clone(), world.clock.clone());
            std::thread::spawn(move || {
                barrier.wait();
                format!("{:?}", keys_in(&folder, &clock))
            })
        })
        .collect();
    let mut made: Vec<_> = racers.into_iter().map(|r| r.join().expect("no panic")).collect();
    made.dedup();
    assert_eq!(made.len(), 1, "{made:?}");
}

#[tokio::test]
async fn the_first_start_makes_an_administrator_key_and_later_ones_leave_it() {
    let world = World::new().await;
    let folder = world.folder.path().join("keys");
    assert!(read_admin_key(&folder).expect("reads").is_none());
    let made = world.keys.ensure_admin_key(&*world.store, &world.journal).await.expect("made");
    assert!(made.created);
    assert_eq!(made.path, folder.join("admin.key"));
    let text = read_admin_key(&folder).expect("reads").expect("it is there");
    let admin = world.bearer(text.expose_secret()).await.expect("passes");
    assert!(admin.is_operator() && admin.has(Scope::JobsWork));
    assert_eq!(admin.grant.tenants, Tenants::All);
    assert!(tidings_auth::is_made_here(&admin.credential));

    assert!(!world.keys.ensure_admin_key(&*world.store, &world.journal).await.expect("there").created);
    let CredentialId::Key(id) = admin.credential else { panic!("a key") };
    world.journal.submit(Command::RevokeOperatorKey(id)).await.expect("revoked");
    fs::remove_file(&made.path).expect("removes");
    assert!(!world.keys.ensure_admin_key(&*world.store, &world.journal).await.expect("there").created);
    assert!(!made.path.exists(), "who revoked it does not find a new one");
}

#[tokio::test]
async fn a_key_file_that_a_crash_left_is_put_into_the_store() {
    let (crashed, world) = (World::new().await, World::new().await);
    crashed.keys.ensure_admin_key(&*crashed.store, &crashed.journal).await.expect("made");
    let path = world.folder.path().join("keys/admin.key");
    fs::copy(crashed.folder.path().join("keys/admin.key"), &path).expect("copies");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changes");
    let put = world.keys.ensure_admin_key(&*world.store, &world.journal).await.expect("put");
    assert!(!put.created);
    let text = read_admin_key(&world.folder.path().join("keys")).expect("reads").expect("it is there");
    assert!(world.bearer(text.expose_secret()).await.expect("passes").is_operator());
    assert_eq!(world.store.keys(None, None, 10).await.expect("reads").len(), 1);
}

#[tokio::test]
async fn what_was_revoked_before_a_restart_stays_revoked() {
    let world = World::new().await;
    let (id, _) = world.key("events:read", None).await;
    world.tenant_command("acme", tidings_store::Operation::RevokeKey(id)).await;
    let restarted = Authenticator::open(
        AuthConfig::default(),
        world.keys.clone(),
        world.store.clone(),
        world.journal.clone(),
        Arc::new(world.clock.clone()),
        Arc::new(SystemEntropy),
    )
    .await
    .expect("opens");
    assert!(restarted.is_revoked(&CredentialId::Key(id)));
}
