use std::time::Duration;

use tidings_auth::Cause;
use tidings_core::CredentialId;
use tidings_store::{Operation, Revocation};
use tokio::sync::oneshot;

use crate::world::{World, cause, tenant_id};

#[tokio::test]
async fn revocations_are_announced_in_order_after_they_count() {
    let world = World::new().await;
    let (first, _) = world.key("events:read", None).await;
    let (second, _) = world.key("events:read", None).await;
    let mut announced = world.auth.revocations();
    for id in [first, second] {
        world.tenant_command("acme", Operation::RevokeKey(id)).await;
    }
    assert_eq!(world.auth.step().await.expect("the store is there"), 2);
    for id in [first, second] {
        let Ok(Revocation::Key { id: named, .. }) = announced.try_recv() else { panic!("announced") };
        assert_eq!(named, id);
        assert!(world.auth.is_revoked(&CredentialId::Key(id)));
    }
    assert_eq!(world.auth.step().await.expect("the store is there"), 0, "each is announced once");
    assert!(announced.try_recv().is_err());
}

#[tokio::test]
async fn the_poller_finds_a_revocation_by_itself_and_stops_when_told() {
    let world = World::new().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let mut announced = world.auth.revocations();
    let poller = tokio::spawn(world.auth.clone().run(async move {
        let _ = stopped.await;
    }));
    let (id, text) = world.key("events:read", None).await;
    world.bearer(&text).await.expect("passes");
    world.tenant_command("acme", Operation::RevokeKey(id)).await;
    let found =
        tokio::time::timeout(Duration::from_secs(20), announced.recv()).await.expect("within its second");
    assert!(matches!(found, Ok(Revocation::Key { id: named, .. }) if named == id));
    assert_eq!(cause(world.bearer(&text).await), Cause::Revoked);
    stop.send(()).expect("the poller listens");
    tokio::time::timeout(Duration::from_secs(20), poller).await.expect("it stops").expect("no panic");
}

#[tokio::test]
async fn a_deleted_tenants_keys_are_forgotten() {
    let world = World::new().await;
    let (_, text) = world.key("events:read", None).await;
    world.bearer(&text).await.expect("passes");
    let mut announced = world.auth.revocations();
    world.tenant_command("acme", Operation::Delete).await;
    world.auth.step().await.expect("the store is there");
    let mut tenants = Vec::new();
    while let Ok(row) = announced.try_recv() {
        if let Revocation::Tenant { id, .. } = row {
            tenants.push(id);
        }
    }
    assert!(tenants.contains(&tenant_id("acme")));
    let refused = cause(world.bearer(&text).await);
    assert!(matches!(refused, Cause::UnknownKey | Cause::Revoked), "{refused:?}");
}
