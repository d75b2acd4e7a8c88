use std::time::Duration;

use tidings_core::{
    Clock as _, Endpoint, EndpointId, EndpointSpec, Grant, ReplayId, SecretId, Seq, SystemEntropy, TenantId,
    Tenants, Timestamp, UserId,
    webhook::{
        DisabledReason, EndpointState, Format, Partition, Replay, Resume, Secret, SecretKind, StateName,
    },
};

use super::{
    webhook_reports::{attempt, dead, report, retrying},
    world::{World, tenant_id},
};
use crate::{
    CommandError, DeliveryQuery, Dispatchable, EndpointChange, NewEndpoint, Operation, Outcome, ReplayWhat,
    TenantState, Webhooks,
};

pub(super) const MINUTE: Duration = Duration::from_mins(1);

pub(super) fn hooks(world: &World) -> &dyn Webhooks {
    world.store.webhooks().expect("every store keeps webhooks")
}

fn grant(user: Option<&str>) -> Grant {
    Grant {
        tenants: Tenants::One(tenant_id("acme")),
        user: user.map(|user| UserId::new(user).expect("valid")),
        scopes: "events:read jobs:read:all".parse().expect("valid"),
        subjects: Some(["note/*".parse().expect("valid")].into()),
    }
}

fn secret(n: u8) -> Secret {
    Secret {
        id: SecretId::from_bytes([n; 16]),
        kind: if n.is_multiple_of(2) { SecretKind::V1a { public: "whpk_x".into() } } else { SecretKind::V1 },
        sealed: vec![n, 0, 255].into(),
        created_at: Timestamp::from_secs(1_700_000_000),
        expires_at: None,
    }
}

pub(crate) fn new_endpoint() -> NewEndpoint {
    NewEndpoint {
        id: EndpointId::generate(Timestamp::from_secs(1_800_000_000), &SystemEntropy),
        spec: EndpointSpec::of("https://example.com/hook"),
        grant: grant(None),
        secrets: vec![secret(1)],
        cursor: None,
        limit: 1_000,
    }
}

pub(super) async fn change(
    world: &World,
    tenant: &str,
    operation: Operation,
) -> Result<Endpoint, CommandError> {
    match world.operate(tenant, operation).await? {
        Outcome::Endpoint(endpoint) => Ok(*endpoint),
        other => panic!("answered {other:?}"),
    }
}

pub(super) async fn put(world: &World, tenant: &str) -> Endpoint {
    change(world, tenant, Operation::PutEndpoint(Box::new(new_endpoint()))).await.expect("it is new")
}

pub(super) async fn read(world: &World, tenant: &str, id: EndpointId) -> Option<Endpoint> {
    hooks(world).endpoint(&tenant_id(tenant), id).await.expect("reads")
}

pub(super) const fn to(id: EndpointId, change: EndpointChange) -> Operation {
    Operation::ChangeEndpoint { id, change }
}

async fn replay(world: &World, id: EndpointId, what: ReplayWhat) -> Result<usize, CommandError> {
    match world.operate("acme", Operation::Replay { endpoint: id, what }).await? {
        Outcome::Replaying { deliveries, more: false } => Ok(deliveries),
        other => panic!("answered {other:?}"),
    }
}

fn replay_id(n: u8) -> ReplayId {
    ReplayId::from_bytes([n; 16])
}

pub(super) async fn an_endpoint_reads_back(world: World) {
    world.publish("acme", 3).await;
    let mut new = new_endpoint();
    new.spec.format = Format::CloudeventsBinary;
    new.spec.timeout = Some(Duration::from_secs(5));
    new.spec.filter = serde_json::from_str(r#"{"types":["note.*"],"owner":"ana"}"#).expect("valid");
    new.spec.description = "naïve – 注文".into();
    new.grant = grant(Some("ana"));
    new.secrets = vec![secret(1), secret(2)];
    let made = change(&world, "acme", Operation::PutEndpoint(Box::new(new.clone()))).await.expect("new");
    assert_eq!((&made.spec, &made.grant, &made.secrets), (&new.spec, &new.grant, &new.secrets));
    assert_eq!((made.state, made.cursor, made.generation), (EndpointState::Active, Seq::new(3), 1));
    assert_eq!((made.created_at, made.tenant.as_str()), (world.clock.now(), "acme"));
    assert_eq!(read(&world, "acme", made.id).await, Some(made.clone()));
    let from_start = NewEndpoint { cursor: Some(Seq::ZERO), ..new_endpoint() };
    let from_start = change(&world, "acme", Operation::PutEndpoint(Box::new(from_start))).await.expect("new");
    assert_eq!(from_start.cursor, Seq::ZERO);
    let ahead = NewEndpoint { cursor: Some(Seq::new(99)), ..new_endpoint() };
    let ahead = change(&world, "acme", Operation::PutEndpoint(Box::new(ahead))).await.expect("new");
    assert_eq!(ahead.cursor, Seq::new(3), "no cursor is ahead of the log");
}

pub(super) async fn endpoints_are_listed_by_id(world: World) {
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(put(&world, "acme").await.id);
    }
    ids.sort();
    put(&world, "other").await;
    let page = async |after, limit| -> Vec<EndpointId> {
        let page = hooks(&world).endpoints(&tenant_id("acme"), after, limit).await.expect("reads");
        page.iter().map(|endpoint| endpoint.id).collect()
    };
    assert_eq!(page(None, 3).await, ids[..3]);
    assert_eq!(page(Some(ids[2]), 3).await, ids[3..]);
    let none = hooks(&world).endpoints(&tenant_id("nobody"), None, 3).await.expect("reads");
    assert!(none.is_empty());
}

pub(super) async fn an_endpoint_changes_and_is_paused_and_enabled(world: World) {
    let made = put(&world, "acme").await;
    let spec = EndpointSpec { concurrency: 1, ..made.spec.clone() };
    let set = |seen| to(made.id, EndpointChange::Spec { spec: Box::new(spec.clone()), seen });
    let changed = change(&world, "acme", set(made.change)).await.expect("unchanged since");
    assert_eq!((&changed.spec, changed.generation), (&spec, 1));
    assert!(changed.change > made.change);
    assert_eq!(change(&world, "acme", set(made.change)).await, Err(CommandError::Changed));
    let paused = change(&world, "acme", to(made.id, EndpointChange::Pause)).await.expect("active");
    assert_eq!((paused.state.name(), paused.generation), (StateName::Paused, 2));
    assert_eq!(read(&world, "acme", made.id).await, Some(paused));
    world.publish("acme", 2).await;
    let from_cursor = EndpointChange::Enable(Resume::Cursor);
    let enabled = change(&world, "acme", to(made.id, from_cursor)).await.expect("paused");
    assert_eq!((enabled.state, enabled.cursor), (EndpointState::Active, Seq::ZERO));
    let from_now = EndpointChange::Enable(Resume::Now);
    let enabled = change(&world, "acme", to(made.id, from_now)).await.expect("active");
    assert_eq!((enabled.cursor, enabled.generation), (Seq::new(2), 4));
    assert_eq!(read(&world, "acme", made.id).await, Some(enabled));
}

pub(super) async fn secrets_overlap_and_expire(world: World) {
    let made = put(&world, "acme").await;
    let rotate = EndpointChange::Rotate { secret: secret(3), overlap: MINUTE };
    let rotated = change(&world, "acme", to(made.id, rotate)).await.expect("is there");
    let ends: Vec<_> = rotated.secrets.iter().map(|secret| secret.expires_at).collect();
    assert_eq!(ends, [Some(world.clock.now() + MINUTE), None]);
    assert_eq!(rotated.secrets[1].created_at, world.clock.now());
    assert_eq!(read(&world, "acme", made.id).await, Some(rotated));
    world.clock.advance(MINUTE);
    world.operate("acme", Operation::SetState(TenantState::Suspended)).await.expect("suspended");
    let sealed = vec![(secret(3).id, vec![9, 9].into())];
    let resealed =
        change(&world, "acme", to(made.id, EndpointChange::Reseal(sealed))).await.expect("any state");
    assert_eq!(
        resealed.secrets.iter().map(|secret| secret.sealed.to_vec()).collect::<Vec<_>>(),
        [[1, 0, 255].to_vec(), vec![9, 9]]
    );
    let rotate = EndpointChange::Rotate { secret: secret(5), overlap: MINUTE };
    let refused = change(&world, "acme", to(made.id, rotate.clone())).await;
    assert_eq!(refused, Err(CommandError::TenantSuspended));
    world.operate("acme", Operation::SetState(TenantState::Active)).await.expect("active");
    let left = change(&world, "acme", to(made.id, rotate)).await.expect("is there");
    let ids: Vec<_> = left.secrets.iter().map(|secret| secret.id).collect();
    assert_eq!(ids, [secret(3).id, secret(5).id], "what has expired goes");
}

pub(super) async fn another_tenants_endpoints_are_unknown(world: World) {
    world.publish("other", 1).await;
    let id = put(&world, "acme").await.id;
    assert_eq!(read(&world, "other", id).await, None);
    let failures = Operation::Replay { endpoint: id, what: ReplayWhat::Failures };
    for operation in [
        to(id, EndpointChange::Pause),
        Operation::DeleteEndpoint(id),
        failures,
        Operation::Report(Box::new(report(id, 1))),
    ] {
        for tenant in ["other", "nobody"] {
            let answer = world.operate(tenant, operation.clone()).await;
            assert!(matches!(answer, Err(CommandError::NotFound)), "{tenant}: {answer:?}");
        }
    }
    assert_eq!(hooks(&world).backlog(&tenant_id("other"), id).await.expect("reads"), None);
    let query = crate::AttemptQuery { endpoint: Some(id), limit: 10, ..Default::default() };
    assert!(hooks(&world).attempts(&tenant_id("other"), query).await.expect("reads").is_empty());
}

pub(super) async fn a_deleted_endpoint_is_gone_and_heard_of(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 1).await;
    let mut said = report(made.id, made.generation);
    said.deliveries = vec![dead(1, Timestamp::from_secs(1_800_000_000))];
    world.operate("acme", Operation::Report(Box::new(said))).await.expect("is there");
    world.operate("acme", Operation::DeleteEndpoint(made.id)).await.expect("is there");
    assert_eq!(read(&world, "acme", made.id).await, None);
    let again = world.operate("acme", Operation::DeleteEndpoint(made.id)).await;
    assert!(matches!(again, Err(CommandError::NotFound)));
    let heard = hooks(&world).dispatchable(None, made.change, 10).await.expect("reads");
    assert_eq!(heard.len(), 1);
    assert_eq!((heard[0].id, &heard[0].endpoint), (made.id, &None));
    super::webhook_retention::sweep(&world, crate::Retention::of_log(None, None)).await;
    assert_eq!(hooks(&world).dispatchable(None, 0, 10).await.expect("reads").len(), 1, "a tombstone stays");
    world.clock.advance(MINUTE * 61);
    super::webhook_retention::sweep(&world, crate::Retention::of_log(None, None)).await;
    assert!(hooks(&world).dispatchable(None, 0, 10).await.expect("reads").is_empty());
}

pub(super) async fn a_tenant_has_so_many_endpoints(world: World) {
    let new = || Operation::PutEndpoint(Box::new(NewEndpoint { limit: 2, ..new_endpoint() }));
    let first = change(&world, "acme", new()).await.expect("the first");
    change(&world, "acme", new()).await.expect("the second");
    assert_eq!(change(&world, "acme", new()).await, Err(CommandError::TooMany));
    world.operate("acme", Operation::DeleteEndpoint(first.id)).await.expect("is there");
    change(&world, "acme", new()).await.expect("a place is free");
    change(&world, "other", new()).await.expect("another tenant's");
}

pub(super) async fn dispatchers_hear_of_changes_in_order(world: World) {
    let mut made = Vec::new();
    for tenant in ["acme", "other", "acme"] {
        made.push(put(&world, tenant).await);
    }
    let heard = async |partition, after, limit| -> Vec<(EndpointId, bool)> {
        let heard = hooks(&world).dispatchable(partition, after, limit).await.expect("reads");
        assert!(heard.windows(2).all(|pair| pair[0].change < pair[1].change));
        heard.into_iter().map(|Dispatchable { id, endpoint, .. }| (id, endpoint.is_some())).collect()
    };
    let ids: Vec<_> = made.iter().map(|endpoint| (endpoint.id, true)).collect();
    assert_eq!(heard(None, 0, 10).await, ids);
    assert_eq!(heard(None, 0, 2).await, ids[..2]);
    assert_eq!(heard(None, made[1].change, 10).await, ids[2..]);
    let mut of_partitions = Vec::new();
    for partition in Partition::all() {
        for (id, _) in heard(Some(partition), 0, 10).await {
            let endpoint = made.iter().find(|endpoint| endpoint.id == id).expect("is one of them");
            assert_eq!(endpoint.partition(), partition);
            of_partitions.push(id);
        }
    }
    assert_eq!(of_partitions.len(), 3);
    let last = made[2].change;
    let mut said = report(made[0].id, 1);
    said.attempts = vec![attempt(1, world.clock.now())];
    world.operate("acme", Operation::Report(Box::new(said))).await.expect("is there");
    assert!(heard(None, last, 10).await.is_empty(), "delivering is no change");
    change(&world, "acme", to(made[0].id, EndpointChange::Pause)).await.expect("active");
    assert_eq!(heard(None, last, 10).await, [(made[0].id, true)]);
    world.operate("other", Operation::SetState(TenantState::Suspended)).await.expect("suspended");
    assert_eq!(heard(None, last, 10).await, [(made[0].id, true), (made[1].id, false)]);
    world.operate("other", Operation::SetState(TenantState::Active)).await.expect("active");
    assert_eq!(heard(None, last, 10).await, [(made[0].id, true), (made[1].id, true)]);
    world.operate("acme", Operation::Delete).await.expect("deleted");
    let mut gone = heard(None, last, 10).await;
    gone.retain(|(_, served)| !served);
    assert_eq!(gone.len(), 2);
}

pub(super) async fn a_revoked_users_endpoints_are_paused(world: World) {
    let of = |user: Option<&str>| {
        Operation::PutEndpoint(Box::new(NewEndpoint { grant: grant(user), ..new_endpoint() }))
    };
    let anas = change(&world, "acme", of(Some("ana"))).await.expect("new");
    let failing = change(&world, "acme", of(Some("ana"))).await.expect("new");
    let mut said = report(failing.id, failing.generation);
    said.disable = Some(DisabledReason::Failing);
    world.operate("acme", Operation::Report(Box::new(said))).await.expect("is there");
    let bens = change(&world, "acme", of(Some("ben"))).await.expect("new");
    let nobodys = change(&world, "acme", of(None)).await.expect("new");
    let elsewhere = change(&world, "other", of(Some("ana"))).await.expect("new");
    let pause = Operation::PauseEndpointsOf(UserId::new("ana").expect("valid"));
    let paused = world.operate("acme", pause.clone()).await;
    assert!(matches!(paused, Ok(Outcome::Paused(2))), "{paused:?}");
    let healing = read(&world, "acme", failing.id).await.expect("is there");
    assert_eq!(healing.state, EndpointState::Paused { at: world.clock.now() }, "it heals no more by itself");
    assert_eq!(healing.generation, 3);
    let paused = read(&world, "acme", anas.id).await.expect("is there");
    assert_eq!(paused.state, EndpointState::Paused { at: world.clock.now() });
    assert_eq!(paused.generation, 2);
    assert!(paused.change > elsewhere.change);
    for (tenant, endpoint) in [("acme", bens), ("acme", nobodys), ("other", elsewhere)] {
        assert_eq!(read(&world, tenant, endpoint.id).await, Some(endpoint));
    }
    assert!(matches!(world.operate("acme", pause).await, Ok(Outcome::Paused(0))));
}

pub(super) async fn a_receiver_that_is_back_enables_only_what_was_seen(world: World) {
    let made = put(&world, "acme").await;
    let disable = async || {
        let now = read(&world, "acme", made.id).await.expect("is there");
        let mut said = report(made.id, now.generation);
        said.disable = Some(DisabledReason::Failing);
        world.operate("acme", Operation::Report(Box::new(said))).await.expect("is there");
        read(&world, "acme", made.id).await.expect("is there")
    };
    let recover = async |seen| change(&world, "acme", to(made.id, EndpointChange::Recover { seen })).await;
    assert_eq!(recover(made.change).await, Err(CommandError::Changed), "it is active");
    let disabled = disable().await;
    let back = recover(disabled.change).await.expect("as it was seen");
    assert_eq!((back.state, back.cursor), (EndpointState::Active, disabled.cursor));
    let disabled = disable().await;
    let paused = change(&world, "acme", to(made.id, EndpointChange::Pause)).await.expect("disabled");
    assert_eq!(paused.state, EndpointState::Paused { at: world.clock.now() });
    for seen in [disabled.change, paused.change] {
        assert_eq!(recover(seen).await, Err(CommandError::Changed), "it is paused");
    }
    assert_eq!(read(&world, "acme", made.id).await, Some(paused));
}

pub(super) async fn a_range_is_replayed_beside_what_is_new(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 10).await;
    let range =
        |id, from, to| ReplayWhat::Range { id: replay_id(id), from: Seq::new(from), to: Seq::new(to) };
    assert_eq!(replay(&world, made.id, range(1, 3, 99)).await, Ok(8));
    assert_eq!(replay(&world, made.id, range(2, 11, 20)).await, Err(CommandError::NotFound));
    assert_eq!(
        replay(&world, made.id, ReplayWhat::Event { id: replay_id(3), seq: Seq::new(5) }).await,
        Ok(1)
    );
    let replays = hooks(&world).replays(&tenant_id("acme"), made.id).await.expect("reads");
    let one = |id, from, to, position| Replay {
        id: replay_id(id),
        from: Seq::new(from),
        to: Seq::new(to),
        position: Seq::new(position),
        created_at: world.clock.now(),
    };
    assert_eq!(replays, [one(1, 3, 10, 2), one(3, 5, 5, 4)]);
    let heard = hooks(&world).dispatchable(None, made.change, 10).await.expect("reads");
    assert_eq!(heard.len(), 1, "dispatchers hear of it");
    let mut said = report(made.id, 1);
    said.replays = vec![(replay_id(1), Seq::new(7)), (replay_id(3), Seq::new(5))];
    world.operate("acme", Operation::Report(Box::new(said))).await.expect("is there");
    let replays = hooks(&world).replays(&tenant_id("acme"), made.id).await.expect("reads");
    assert_eq!(replays, [one(1, 3, 10, 7)]);
    for id in 10..10 + Replay::MAX as u8 - 1 {
        assert_eq!(replay(&world, made.id, range(id, 1, 1)).await, Ok(1));
    }
    assert_eq!(replay(&world, made.id, range(99, 1, 1)).await, Err(CommandError::TooMany));
}

pub(super) async fn dead_letters_are_sent_again(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 5).await;
    let at = world.clock.now();
    let mut said = report(made.id, 1);
    said.cursor = Some(Seq::new(5));
    said.deliveries = vec![dead(1, at), dead(2, at), retrying(3, 2, at + MINUTE), dead(4, at)];
    world.operate("acme", Operation::Report(Box::new(said))).await.expect("is there");
    world.clock.advance(MINUTE);
    let again = |seq| ReplayWhat::Event { id: replay_id(1), seq: Seq::new(seq) };
    assert_eq!(replay(&world, made.id, again(2)).await, Ok(1));
    let due = async || -> Vec<(u64, u32, Timestamp)> {
        let found = hooks(&world).retrying(&tenant_id("acme"), made.id, 10).await.expect("reads");
        found
            .into_iter()
            .map(|delivery| match delivery.state {
                tidings_core::webhook::DeliveryState::Retrying { attempts, next_at } => {
                    (delivery.seq.get(), attempts, next_at)
                }
                dead @ tidings_core::webhook::DeliveryState::Dead { .. } => panic!("{dead:?} is not retried"),
            })
            .collect()
    };
    let now = world.clock.now();
    assert_eq!(due().await, [(2, 0, now), (3, 2, now)]);
    assert_eq!(replay(&world, made.id, ReplayWhat::Failures).await, Ok(2));
    assert_eq!(due().await, [(1, 0, now), (2, 0, now), (3, 2, now), (4, 0, now)]);
    assert_eq!(replay(&world, made.id, ReplayWhat::Failures).await, Ok(0));
    let query = DeliveryQuery { dead: true, after: Seq::ZERO, limit: 10, bytes: usize::MAX };
    let none: TenantId = tenant_id("acme");
    assert!(hooks(&world).deliveries(&none, made.id, query).await.expect("reads").is_empty());
    // What is retried anyway is due at once, and no second time from the log.
    assert_eq!(replay(&world, made.id, again(3)).await, Ok(1));
    assert_eq!(due().await[2], (3, 0, now));
    assert!(hooks(&world).replays(&none, made.id).await.expect("reads").is_empty());
}
