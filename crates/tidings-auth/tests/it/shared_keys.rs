//! Keys of several servers on one database.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc, time::Duration};

use tidings_auth::{
    AdminKey, AuthConfig, Authenticator, Cause, Credential, ExposeSecret as _, KeysError, MasterKey,
    MasterKeys, Rewrapped, ServerKeys, TicketRequest, TokenRequest, UnsealError, read_admin_key,
    read_shared_admin_key, rewrap,
};
use tidings_core::{SystemEntropy, Tenants};
use tidings_store::Store as _;

use crate::world::{World, cause, scopes, tenant_id, user};

fn key(byte: u8) -> MasterKey {
    format!("{byte:02x}").repeat(32).parse().expect("a key")
}

fn only(byte: u8) -> MasterKeys {
    MasterKeys::new(key(byte), None)
}

fn request() -> TokenRequest {
    TokenRequest {
        tenant: tenant_id("acme"),
        user: Some(user("ana")),
        scopes: scopes("events:read"),
        subjects: None,
        ttl: Duration::from_hours(1),
    }
}

impl World {
    fn node_folder(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    async fn node(&self, node: &str, master: MasterKeys) -> Result<ServerKeys, KeysError> {
        let (entropy, clock) = (Arc::new(SystemEntropy), Arc::new(self.clock.clone()));
        let secrets = &self.store.secrets;
        ServerKeys::open_shared(&self.node_folder(node), secrets, master, entropy, clock).await
    }

    async fn authenticator(&self, keys: ServerKeys) -> Authenticator {
        Authenticator::open(
            AuthConfig::default(),
            keys,
            self.store.clone(),
            self.journal.clone(),
            Arc::new(self.clock.clone()),
            Arc::new(SystemEntropy),
        )
        .await
        .expect("opens")
    }

    async fn admin(&self, keys: &ServerKeys) -> AdminKey {
        keys.ensure_admin_key(&*self.store, &self.journal).await.expect("there is one")
    }
}

#[tokio::test]
async fn what_one_node_signs_another_takes() {
    let world = World::new().await;
    let one = world.node("one", only(1)).await.expect("opens");
    let two = world.authenticator(world.node("two", only(1)).await.expect("opens")).await;
    let token = one.issue(&request());
    let principal = two.authenticate(Credential::Bearer(&token)).await.expect("passes");
    assert_eq!(principal.user(), Some(&user("ana")));
    let one = world.authenticator(one).await;
    let ticket = one.mint_ticket(&principal, TicketRequest::default()).expect("minted");
    let shown = Credential::Ticket { text: &ticket.ticket, origin: None };
    two.authenticate(shown).await.expect("a ticket of node one opens at node two");
    for node in [one, two] {
        assert_eq!(cause(node.authenticate(shown).await), Cause::TicketUsed);
    }
}

#[tokio::test]
async fn ten_that_start_at_once_end_with_the_same_keys_and_one_of_them_tells() {
    let world = Arc::new(World::new().await);
    let starts = (0..10).map(|n| {
        let world = world.clone();
        tokio::spawn(async move {
            let keys = world.node(&n.to_string(), only(1)).await.expect("opens");
            let admin = world.admin(&keys).await;
            (format!("{keys:?}"), admin.created)
        })
    });
    let mut kids = Vec::new();
    let mut told = 0;
    for start in starts.collect::<Vec<_>>() {
        let (kid, created) = start.await.expect("no panic");
        kids.push(kid);
        told += usize::from(created);
    }
    kids.dedup();
    assert_eq!((kids.len(), told), (1, 1), "{kids:?}");
    assert_eq!(world.store.keys(None, None, 10).await.expect("reads").len(), 1);
    let files: Vec<_> =
        (0..10).filter_map(|n| read_admin_key(&world.node_folder(&n.to_string())).ok()?).collect();
    assert_eq!(files.len(), 1, "the key is in one folder");
    let shared = read_shared_admin_key(&world.store.secrets, &only(1)).await.expect("reads").expect("there");
    assert_eq!(shared.expose_secret(), files[0].expose_secret());
    let admin = world.bearer(shared.expose_secret()).await.expect("passes");
    assert!(admin.is_operator() && admin.grant.tenants == Tenants::All);
}

#[tokio::test]
async fn nothing_is_in_the_database_that_could_be_read() {
    let world = World::new().await;
    let keys = world.node("one", only(1)).await.expect("opens");
    let admin = world.admin(&keys).await;
    assert!(admin.created);
    assert_eq!(fs::metadata(&admin.path).expect("there").permissions().mode() & 0o777, 0o600);
    let text = read_admin_key(&world.node_folder("one")).expect("reads").expect("there");
    let all = world.store.secrets.all();
    assert_eq!(all.keys().collect::<Vec<_>>(), ["admin", "signing", "ticket"]);
    for (name, sealed) in &all {
        for open in [&b"PRIVATE KEY"[..], text.expose_secret().as_bytes()] {
            assert!(!sealed.windows(open.len()).any(|w| w == open), "{name}");
        }
    }
}

#[tokio::test]
async fn a_wrong_master_key_or_a_secret_in_anothers_place_is_refused_with_a_sentence() {
    let world = World::new().await;
    world.node("one", only(1)).await.expect("opens");
    let before = world.store.secrets.all();
    let error = world.node("two", only(2)).await.expect_err("refused");
    let KeysError::Sealed { name: "signing", source } = &error else { panic!("{error:?}") };
    assert_eq!(*source, UnsealError::OtherKey { sealed: key(1).id(), given: key(2).id() });
    assert!(source.to_string().contains("secrets.master_key_previous"), "{source}");
    assert_eq!(world.store.secrets.all(), before, "nothing was changed");
    world.store.secrets.put("signing", before["ticket"].clone());
    let error = world.node("one", only(1)).await.expect_err("refused");
    assert!(matches!(error, KeysError::Sealed { source: UnsealError::Damaged, .. }), "{error:?}");
}

#[tokio::test]
async fn a_master_key_is_replaced_while_nodes_run() {
    let world = World::new().await;
    let one = world.node("one", only(1)).await.expect("opens");
    world.admin(&one).await;
    let token = one.issue(&request());
    let both = MasterKeys::new(key(2), Some(key(1)));
    world.node("two", both.clone()).await.expect("reads what the old key sealed");

    let secrets = &world.store.secrets;
    // It was interrupted after the first.
    let sealed = secrets.all()["admin"].clone();
    assert_eq!(
        rewrap(secrets, &both, &SystemEntropy).await.expect("done"),
        Rewrapped { rewrapped: 3, kept: 0 }
    );
    secrets.put("admin", sealed);
    assert_eq!(
        rewrap(secrets, &both, &SystemEntropy).await.expect("done"),
        Rewrapped { rewrapped: 1, kept: 2 }
    );
    assert_eq!(
        rewrap(secrets, &both, &SystemEntropy).await.expect("done"),
        Rewrapped { rewrapped: 0, kept: 3 }
    );

    world.node("late", only(1)).await.expect_err("the old key opens nothing any more");
    let new = world.authenticator(world.node("new", only(2)).await.expect("the new one does")).await;
    new.authenticate(Credential::Bearer(&token)).await.expect("the keys are the same");
    world.node("both", both).await.expect("and so do both");
}

#[tokio::test]
async fn a_key_that_a_crash_left_sealed_is_put_into_the_store_by_the_next() {
    let world = World::new().await;
    let one = world.node("one", only(1)).await.expect("opens");
    let crashed = World::new().await;
    let elsewhere = crashed.node("x", only(1)).await.expect("opens");
    crashed.admin(&elsewhere).await;
    world.store.secrets.put("admin", crashed.store.secrets.all()["admin"].clone());
    assert!(!world.admin(&one).await.created);
    let text = read_shared_admin_key(&world.store.secrets, &only(1)).await.expect("reads").expect("there");
    assert!(world.bearer(text.expose_secret()).await.expect("passes").is_operator());
}

#[tokio::test]
async fn a_node_whose_folder_cannot_be_written_starts_all_the_same() {
    let world = World::new().await;
    fs::write(world.node_folder("file"), "in the way").expect("writes");
    let keys = world.node("file", only(1)).await.expect("opens");
    assert!(!world.admin(&keys).await.created, "there is no file to name");
    let text = read_shared_admin_key(&world.store.secrets, &only(1)).await.expect("reads").expect("there");
    assert!(world.bearer(text.expose_secret()).await.expect("passes").is_operator());
}
