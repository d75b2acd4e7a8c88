use std::time::Duration;

use tidings_core::{Clock as _, Grant, KeyId, Scope, ScopeSet, Tenants, UserId};

use super::world::{World, one, tenant_id};
use crate::{Command, CommandError, NewKey, Operation, Revocation, TenantState};

pub(super) fn key(n: u8, tenants: Tenants) -> NewKey {
    NewKey {
        id: KeyId::from_bytes([n; 16]),
        name: format!("key {n}"),
        hash: [n; 32],
        grant: Grant {
            tenants,
            user: Some(UserId::new("ana").expect("valid")),
            scopes: ScopeSet::EMPTY.with(Scope::EventsRead).with(Scope::JobsReadOwn),
            subjects: Some(["note/*".parse().expect("valid")].into()),
        },
        expires_at: None,
    }
}

async fn listed(world: &World, tenant: Option<&str>) -> Vec<u8> {
    let tenant = tenant.map(tenant_id);
    let keys = world.store.keys(tenant.as_ref(), None, 100).await.expect("reads");
    keys.iter().map(|key| key.id.as_bytes()[0]).collect()
}

pub(super) async fn a_key_reads_back_and_is_revoked_once(world: World) {
    let mut new = key(1, one("acme"));
    new.expires_at = Some(world.clock.now() + Duration::from_hours(1));
    world.operate("acme", Operation::PutKey(new.clone())).await.expect("stored");
    world.operate("acme", Operation::PutKey(key(2, one("acme")))).await.expect("stored");
    let record = world.store.key(new.id).await.expect("reads").expect("exists");
    assert_eq!((&record.name, record.hash, &record.grant), (&new.name, new.hash, &new.grant));
    assert_eq!(
        (record.created_at, record.expires_at, record.revoked_at),
        (world.clock.now(), new.expires_at, None)
    );
    assert_eq!(listed(&world, Some("acme")).await, [2, 1], "newest first");
    let page =
        world.store.keys(Some(&tenant_id("acme")), Some(KeyId::from_bytes([2; 16])), 9).await.expect("reads");
    assert_eq!(page.len(), 1);

    let elsewhere = world.operate("other", Operation::Ensure).await;
    elsewhere.expect("made");
    let foreign = world.operate("other", Operation::RevokeKey(new.id)).await;
    assert!(matches!(foreign, Err(CommandError::NotFound)));
    let revoked_at = world.clock.now();
    world.operate("acme", Operation::RevokeKey(new.id)).await.expect("revoked");
    world.clock.advance(Duration::from_secs(1));
    world.operate("acme", Operation::RevokeKey(new.id)).await.expect("revoked before");
    let record = world.store.key(new.id).await.expect("reads").expect("exists");
    assert_eq!(record.revoked_at, Some(revoked_at));
    assert_eq!(world.store.revocations(0).await.expect("reads").len(), 1);
    let missing = world.operate("acme", Operation::RevokeKey(KeyId::from_bytes([9; 16]))).await;
    assert!(matches!(missing, Err(CommandError::NotFound)));
    assert!(world.store.key(KeyId::from_bytes([9; 16])).await.expect("reads").is_none());
}

pub(super) async fn an_operators_key_belongs_to_no_tenant(world: World) {
    world.run(Command::PutOperatorKey(key(1, Tenants::All))).await.expect("stored");
    world.operate("acme", Operation::PutKey(key(2, one("acme")))).await.expect("stored");
    assert_eq!((listed(&world, None).await, listed(&world, Some("acme")).await), (vec![1], vec![2]));
    assert!(listed(&world, Some("missing")).await.is_empty());
    let by_tenant = world.operate("acme", Operation::RevokeKey(KeyId::from_bytes([1; 16]))).await;
    assert!(matches!(by_tenant, Err(CommandError::NotFound)));
    let of_tenant = world.run(Command::RevokeOperatorKey(KeyId::from_bytes([2; 16]))).await;
    assert!(matches!(of_tenant, Err(CommandError::NotFound)));
    world.run(Command::RevokeOperatorKey(KeyId::from_bytes([1; 16]))).await.expect("revoked");
    let record = world.store.key(KeyId::from_bytes([1; 16])).await.expect("reads").expect("exists");
    assert!(record.revoked_at.is_some());
}

pub(super) async fn revocations_are_numbered_in_order(world: World) {
    for n in [1, 2] {
        world.operate("acme", Operation::PutKey(key(n, one("acme")))).await.expect("stored");
    }
    world.operate("acme", Operation::RevokeKey(KeyId::from_bytes([2; 16]))).await.expect("revoked");
    world.operate("acme", Operation::SetState(TenantState::Suspended)).await.expect("suspended");
    world.operate("acme", Operation::SetState(TenantState::Suspended)).await.expect("it was before");
    world.operate("acme", Operation::RevokeKey(KeyId::from_bytes([1; 16]))).await.expect("revoked");
    world.operate("acme", Operation::Delete).await.expect("deleted");
    let all = world.store.revocations(0).await.expect("reads");
    let what: Vec<_> = all
        .iter()
        .map(|revocation| match revocation {
            Revocation::Key { id, .. } => id.as_bytes()[0].to_string(),
            Revocation::Tenant { id, .. } => id.to_string(),
        })
        .collect();
    assert_eq!(what, ["2", "acme", "1", "acme"]);
    let numbers: Vec<_> =
        all.iter().map(|(Revocation::Key { n, .. } | Revocation::Tenant { n, .. })| *n).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    assert_eq!(world.store.revocations(numbers[1]).await.expect("reads"), all[2..]);
}

pub(super) async fn a_deleted_tenants_keys_are_gone(world: World) {
    world.operate("acme", Operation::PutKey(key(1, one("acme")))).await.expect("stored");
    world.operate("acme", Operation::Delete).await.expect("deleted");
    assert!(world.store.key(KeyId::from_bytes([1; 16])).await.expect("reads").is_none());
    world.operate("acme", Operation::Create).await.expect("made again");
    assert!(world.store.key(KeyId::from_bytes([1; 16])).await.expect("reads").is_none());
    assert!(listed(&world, Some("acme")).await.is_empty());
}

pub(super) async fn a_ticket_is_taken_once(world: World) {
    let expires_at = world.clock.now() + Duration::from_secs(30);
    let redeem = |id| Operation::RedeemTicket { id: [id; 16], expires_at };
    world.operate("acme", redeem(1)).await.expect("taken");
    assert!(matches!(world.operate("acme", redeem(1)).await, Err(CommandError::AlreadyUsed)));
    world.operate("acme", redeem(2)).await.expect("another");
    world.operate("other", redeem(1)).await.expect("another tenant's");
}
