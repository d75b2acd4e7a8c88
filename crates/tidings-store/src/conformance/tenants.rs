use tidings_core::{Seq, TenantId};

use super::world::{LEASE, PAGE, World, event, job_id, tenant_id, work};
use crate::{Command, CommandError, JobQuery, Operation, Outcome, TenantState};

pub(super) async fn another_tenants_ids_are_unknown(world: World) {
    let job = world.enqueue("acme", work()).await;
    world.lease("acme").await;
    world.publish("other", 1).await;
    let before = world.job("acme", job).await;
    let other = tenant_id("other");
    let never = job_id();
    for id in [job, never] {
        for operation in [
            Operation::Heartbeat { job: id, lease_no: 1, length: LEASE },
            Operation::Complete { job: id, lease_no: 1, result: None, pending: None },
            Operation::Release { job: id, lease_no: 1 },
            Operation::Cancel { job: id },
            Operation::Retry { job: id, id: job_id(), idempotency: None },
        ] {
            let text = format!("{operation:?}");
            let answer = world.operate("other", operation).await;
            assert!(matches!(answer, Err(CommandError::NotFound)), "{text} answered {answer:?}");
        }
        assert_eq!(world.store.job(&other, id).await.expect("reads"), None);
        assert!(world.store.job_events(&other, id, Seq::ZERO, PAGE).await.expect("reads").is_none());
    }
    assert!(
        world
            .store
            .jobs(&other, &JobQuery { limit: 9, ..JobQuery::default() })
            .await
            .expect("reads")
            .jobs
            .is_empty()
    );
    assert!(world.store.queues(&other).await.expect("reads").is_empty());
    assert_eq!(world.log("other").await.len(), 1, "seqs move by a tenant's own events alone");
    assert_eq!(world.job("acme", job).await, before);
}

async fn without_creation(world: &World, operation: Operation) -> Result<Outcome, CommandError> {
    world.run(Command::Tenant { tenant: tenant_id("acme"), create: false, operation }).await
}

pub(super) async fn a_tenant_is_made_only_where_that_is_asked(world: World) {
    let publish = || Operation::Publish { events: vec![event("1")], idempotency: None };
    for operation in [publish(), Operation::Ensure, Operation::Delete, Operation::Cancel { job: job_id() }] {
        let answer = without_creation(&world, operation).await;
        assert!(matches!(answer, Err(CommandError::UnknownTenant)), "answered {answer:?}");
    }
    assert!(world.store.tenant(&tenant_id("acme")).await.expect("reads").is_none());
    without_creation(&world, Operation::Create).await.expect("made");
    let made = world.store.tenant(&tenant_id("acme")).await.expect("reads").expect("exists");
    without_creation(&world, Operation::Create).await.expect("there");
    without_creation(&world, publish()).await.expect("published");
    let now = world.store.tenant(&tenant_id("acme")).await.expect("reads").expect("exists");
    assert_eq!((now.log.epoch, now.created_at), (made.log.epoch, made.created_at));
}

pub(super) async fn a_refused_command_makes_no_tenant(world: World) {
    let answer = world.operate("acme", Operation::Cancel { job: job_id() }).await;
    assert!(matches!(answer, Err(CommandError::NotFound)));
    assert!(world.store.tenant(&tenant_id("acme")).await.expect("reads").is_none());
}

pub(super) async fn a_suspended_tenant_takes_no_writes(world: World) {
    let job = world.enqueue("acme", work()).await;
    without_creation(&world, Operation::SetState(TenantState::Suspended)).await.expect("suspended");
    for operation in [
        Operation::Publish { events: vec![event("1")], idempotency: None },
        Operation::Enqueue { jobs: vec![work()], idempotency: None },
        Operation::Cancel { job },
        Operation::Ensure,
        Operation::RedeemTicket {
            id: [1; 16],
            expires_at: tidings_core::Timestamp::from_secs(2_000_000_000),
        },
    ] {
        let answer = without_creation(&world, operation).await;
        assert!(matches!(answer, Err(CommandError::TenantSuspended)), "answered {answer:?}");
    }
    let record = world.store.tenant(&tenant_id("acme")).await.expect("reads").expect("exists");
    assert_eq!((record.state, record.log.head), (TenantState::Suspended, Seq::new(1)));
    without_creation(&world, Operation::SetState(TenantState::Active)).await.expect("active");
    assert_eq!(world.publish("acme", 1).await[0].seq, Seq::new(2));
}

pub(super) async fn a_tenant_made_again_has_another_history(world: World) {
    let job = world.enqueue("acme", work()).await;
    world.publish("acme", 3).await;
    let first = world.store.log_state(&tenant_id("acme")).await.expect("reads").expect("exists");
    without_creation(&world, Operation::Delete).await.expect("deleted");
    let acme = tenant_id("acme");
    assert!(world.store.log_state(&acme).await.expect("reads").is_none());
    assert!(world.store.events(&acme, Seq::ZERO, PAGE).await.expect("reads").is_none());
    assert!(world.store.tenants(None, 9).await.expect("reads").is_empty());
    assert!(world.claim(tidings_core::Tenants::All, &["work"], 9).await.leases.is_empty());
    let gone = without_creation(&world, Operation::Cancel { job }).await;
    assert!(matches!(gone, Err(CommandError::UnknownTenant)));

    assert_eq!(world.publish("acme", 1).await[0].seq, Seq::new(1));
    let second = world.store.log_state(&acme).await.expect("reads").expect("exists");
    assert_ne!(first.epoch, second.epoch);
    assert_eq!(world.store.job(&acme, job).await.expect("reads"), None);
    assert_eq!(world.log("acme").await.len(), 1);
}

pub(super) async fn renewing_an_epoch_keeps_the_log(world: World) {
    world.publish("acme", 2).await;
    let first = world.store.log_state(&tenant_id("acme")).await.expect("reads").expect("exists");
    without_creation(&world, Operation::RenewEpoch).await.expect("renewed");
    world.publish("acme", 1).await;
    let second = world.store.log_state(&tenant_id("acme")).await.expect("reads").expect("exists");
    assert_ne!(first.epoch, second.epoch);
    assert_eq!((second.oldest, second.head), (Seq::new(1), Seq::new(3)));
}

pub(super) async fn tenants_are_listed_in_order(world: World) {
    for tenant in ["delta", "alpha", "charlie", "bravo"] {
        world.operate(tenant, Operation::Ensure).await.expect("made");
    }
    let list = |after: Option<TenantId>, limit| {
        let world = world.clone();
        async move {
            let page = world.store.tenants(after.as_ref(), limit).await.expect("reads");
            page.iter().map(|t| t.id.to_string()).collect::<Vec<_>>()
        }
    };
    assert_eq!(list(None, 3).await, ["alpha", "bravo", "charlie"]);
    assert_eq!(list(Some(tenant_id("charlie")), 3).await, ["delta"]);
}
