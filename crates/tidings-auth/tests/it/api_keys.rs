use std::time::Duration;

use tidings_auth::{Cause, KeyRequest};
use tidings_core::{CredentialId, GrantError, Scope};
use tidings_store::Operation;

use crate::world::{World, cause, grant};

#[tokio::test]
async fn a_key_stands_for_its_grant_and_nothing_else_does() {
    let world = World::new().await;
    let (id, text) = world.key("events:read", None).await;
    let principal = world.bearer(&text).await.expect("passes");
    assert_eq!(principal.grant, grant("acme", None, "events:read"));
    assert_eq!(principal.credential, CredentialId::Key(id));
    assert_eq!(principal.expires_at, None);

    let (_, other) = world.key("events:read", None).await;
    let mixed = format!("{}{}", &text[..37], &other[37..]);
    assert_eq!(cause(world.bearer(&mixed).await), Cause::WrongSecret);
    let unknown = format!("tdk_{}{}", "0".repeat(32), &text[36..]);
    assert_eq!(cause(world.bearer(&unknown).await), Cause::UnknownKey);
    for bad in [&text[..text.len() - 1], &text.to_uppercase(), &format!("{text} "), &text[4..]] {
        assert_eq!(cause(world.bearer(bad).await), Cause::Form, "{bad}");
    }
    world.bearer(&text).await.expect("still passes");
}

#[tokio::test]
async fn a_key_ends_at_its_expiry_remembered_or_not() {
    let world = World::new().await;
    let (_, text) = world.key("events:read", Some(Duration::from_secs(30))).await;
    world.bearer(&text).await.expect("passes");
    world.clock.advance(Duration::from_micros(29_999_999));
    world.bearer(&text).await.expect("to the last moment");
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(cause(world.bearer(&text).await), Cause::Expired);
}

#[tokio::test]
async fn a_revoked_key_is_refused_though_it_is_remembered() {
    let world = World::new().await;
    let (id, text) = world.key("events:read", None).await;
    world.bearer(&text).await.expect("passes");
    world.tenant_command("acme", Operation::RevokeKey(id)).await;
    world.auth.step().await.expect("the store is there");
    assert_eq!(cause(world.bearer(&text).await), Cause::Revoked);
}

#[tokio::test]
async fn a_remembered_key_is_looked_at_again_after_a_minute() {
    let world = World::new().await;
    let (_, text) = world.key("events:read", None).await;
    for _ in 0..100 {
        world.bearer(&text).await.expect("passes");
    }
    assert_eq!(world.store.key_reads(), 1);
    world.clock.advance(Duration::from_mins(1));
    world.auth.step().await.expect("the store is there");
    world.bearer(&text).await.expect("passes");
    assert_eq!(world.store.key_reads(), 2);
}

#[tokio::test]
async fn a_key_carries_no_more_than_its_creator() {
    let world = World::new().await;
    let (_, text) = world.key("events:read keys:manage", None).await;
    let creator = world.bearer(&text).await.expect("passes");
    let wanted = |tenant, scopes| KeyRequest {
        name: "k".into(),
        grant: grant(tenant, None, scopes),
        expires_at: None,
    };
    assert!(world.auth.new_key(&creator, wanted("acme", "events:read")).is_ok());
    let refused = |request| world.auth.new_key(&creator, request).err();
    assert_eq!(refused(wanted("acme", "system:admin")), Some(GrantError::Scope(Scope::SystemAdmin)));
    assert_eq!(refused(wanted("acme", "jobs:work")), Some(GrantError::Scope(Scope::JobsWork)));
    assert_eq!(refused(wanted("rival", "events:read")), Some(GrantError::Tenant));
}
