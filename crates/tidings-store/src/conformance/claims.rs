use std::{collections::HashSet, time::Duration};

use tidings_core::{Clock as _, NewJob, TenantId, Tenants, UniqueKey, WorkerName, job::Refused};

use super::world::{LEASE, LIMIT, LIMITED, World, claim, job_id, of_type, one, tenant_id, work};
use crate::{Claimed, Command, CommandError, Operation, Outcome, TenantState};

fn tenants_of(claimed: &Claimed) -> Vec<&str> {
    claimed.leases.iter().map(|lease| lease.job.tenant.as_str()).collect()
}

fn with_priority(priority: i16) -> NewJob {
    let mut new = work();
    new.spec.priority = priority;
    new
}

pub(super) async fn priority_comes_before_age(world: World) {
    let mut order = Vec::new();
    for priority in [0, 5, -5, 5] {
        order.push((priority, world.enqueue("acme", with_priority(priority)).await));
        world.clock.advance(Duration::from_millis(1));
    }
    let claimed = world.claim(one("acme"), &["work"], 10).await;
    let leased: Vec<_> = claimed.leases.iter().map(|lease| lease.job.id).collect();
    assert_eq!(leased, [order[1].1, order[3].1, order[0].1, order[2].1]);
    assert_eq!(claimed.next_due, None);
    assert!(claimed.leases.iter().all(|lease| lease.job.lease_no == 1));
}

pub(super) async fn jobs_of_one_moment_are_leased_in_the_order_they_came(world: World) {
    let mut jobs: Vec<_> = (0..20).map(|_| work()).collect();
    // Their ids say the opposite.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.id));
    let order: Vec<_> = jobs.iter().map(|job| job.id).collect();
    world.enqueue_all("acme", jobs).await;
    let claimed = world.claim(one("acme"), &["work"], 20).await;
    let leased: Vec<_> = claimed.leases.iter().map(|lease| lease.job.id).collect();
    assert_eq!(leased, order);
}

pub(super) async fn a_job_is_not_leased_before_its_time(world: World) {
    let now = world.job("acme", world.enqueue("acme", of_type("clock")).await).await.created_at;
    let due = now + Duration::from_mins(1);
    let mut later = work();
    later.run_at = Some(due);
    let id = world.enqueue("acme", later).await;
    assert_eq!(world.story("acme", id).await, ["job.scheduled"]);
    let early = world.claim(one("acme"), &["work"], 1).await;
    assert!(early.leases.is_empty());
    assert_eq!(early.next_due, Some(due));
    assert_eq!(world.claim(Tenants::All, &["work"], 1).await.next_due, Some(due));
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.lease("acme").await.id, id);
    assert_eq!(world.story("acme", id).await, ["job.scheduled", "job.started"], "falling due makes no event");
}

pub(super) async fn tenants_take_turns(world: World) {
    for tenant in ["big", "small", "tiny"] {
        let count = if tenant == "big" { 50 } else { 2 };
        world.enqueue_all(tenant, (0..count).map(|_| work()).collect()).await;
    }
    let claimed = world.claim(Tenants::All, &["work"], 6).await;
    assert_eq!(tenants_of(&claimed), ["big", "small", "tiny", "big", "small", "tiny"]);
    world.enqueue_all("small", (0..3).map(|_| work()).collect()).await;
    world.enqueue_all("tiny", (0..3).map(|_| work()).collect()).await;
    let mut order = Vec::new();
    for _ in 0..6 {
        let claimed = world.claim(Tenants::All, &["work"], 1).await;
        order.extend(tenants_of(&claimed).into_iter().map(str::to_owned));
    }
    for tenant in ["big", "small", "tiny"] {
        assert_eq!(order.iter().filter(|t| *t == tenant).count(), 2, "{order:?}");
    }
    let rest = world.claim(Tenants::All, &["work"], 100).await;
    assert_eq!(tenants_of(&rest).iter().filter(|t| **t == "big").count(), 46, "who is alone gets all");
}

pub(super) async fn claims_of_few_tenants_do_not_turn_others_back(world: World) {
    for tenant in ["a", "b", "c"] {
        world.enqueue_all(tenant, (0..20).map(|_| work()).collect()).await;
    }
    let mut served = HashSet::new();
    for _ in 0..6 {
        let claimed = world.claim(Tenants::All, &["work"], 1).await;
        served.extend(tenants_of(&claimed).into_iter().map(str::to_owned));
        world.claim(one("c"), &["work"], 1).await;
    }
    assert_eq!(served.len(), 3, "{served:?}");
}

pub(super) async fn a_claim_reaches_its_tenants_and_types_alone(world: World) {
    for tenant in ["a", "b", "c"] {
        world.enqueue(tenant, work()).await;
        world.enqueue(tenant, of_type("export")).await;
        world.enqueue(tenant, of_type("other")).await;
    }
    let set: Vec<TenantId> = ["c", "a", "missing"].map(tenant_id).into();
    let claimed = world.claim(Tenants::Set(set.into()), &["work", "export"], 100).await;
    let mut found: Vec<_> =
        claimed.leases.iter().map(|l| (l.job.tenant.as_str(), l.job.spec.job_type.as_str())).collect();
    found.sort_unstable();
    assert_eq!(found, [("a", "export"), ("a", "work"), ("c", "export"), ("c", "work")]);
    assert!(world.claim(one("missing"), &["work"], 1).await.leases.is_empty());
    assert_eq!(world.claim(Tenants::All, &["work", "work"], 100).await.leases.len(), 1);
}

pub(super) async fn limited_types_run_no_more_than_allowed(world: World) {
    for tenant in ["a", "b"] {
        world.enqueue_all(tenant, (0..5).map(|_| of_type(LIMITED)).collect()).await;
        world.enqueue(tenant, work()).await;
    }
    let first = world.claim(Tenants::All, &[LIMITED, "work"], 100).await;
    let limited: Vec<_> = first.leases.iter().filter(|l| l.job.spec.job_type.as_str() == LIMITED).collect();
    assert_eq!((first.leases.len(), limited.len()), (2 + 2 * LIMIT as usize, 2 * LIMIT as usize));
    assert!(world.claim(Tenants::All, &[LIMITED], 100).await.leases.is_empty());
    let job = &limited[0].job;
    world.complete(job.tenant.as_str(), job.id, job.lease_no).await.expect("held");
    let next = world.claim(Tenants::All, &[LIMITED], 100).await;
    assert_eq!(tenants_of(&next), [job.tenant.as_str()], "a place is free in that tenant alone");
}

pub(super) async fn limits_of_types_change_while_jobs_run(world: World) {
    let claimed = async |job_type: &str| world.claim(one("acme"), &[job_type], 100).await.leases;
    let limit = |job_type: &str, most: u32| {
        world.store.limit_jobs([(super::world::job_type(job_type), most)].into());
    };
    world.enqueue_all("acme", (0..6).map(|_| of_type(LIMITED)).collect()).await;
    world.enqueue_all("acme", (0..3).map(|_| work()).collect()).await;
    assert_eq!(claimed(LIMITED).await.len(), LIMIT as usize);
    let running = claimed("work").await;
    assert_eq!(running.len(), 3);
    limit(LIMITED, LIMIT + 1);
    let more = claimed(LIMITED).await;
    assert_eq!(more.len(), 1, "raised by one");
    // Of a type that was not limited, all that run already count.
    limit("work", 3);
    world.enqueue_all("acme", (0..2).map(|_| work()).collect()).await;
    assert!(claimed("work").await.is_empty());
    world.complete("acme", running[0].job.id, running[0].job.lease_no).await.expect("held");
    assert_eq!(claimed("work").await.len(), 1);
    let rest = claimed(LIMITED).await;
    assert_eq!(rest.len(), 3, "the other is limited no more");
    // Lowered below what runs: none is taken from anybody, and none is given.
    limit(LIMITED, 1);
    world.enqueue("acme", of_type(LIMITED)).await;
    assert!(claimed(LIMITED).await.is_empty());
    world.complete("acme", rest[0].job.id, rest[0].job.lease_no).await.expect("held");
    assert!(claimed(LIMITED).await.is_empty(), "five run");
    world.store.limit_jobs(std::collections::HashMap::new());
    assert_eq!(claimed(LIMITED).await.len(), 1);
    assert_eq!(claimed("work").await.len(), 1);
}

pub(super) async fn no_job_is_leased_twice(world: World) {
    world.enqueue_all("acme", (0..30).map(|_| work()).collect()).await;
    let mut seen = HashSet::new();
    for _ in 0..12 {
        let claimed = world.claim(Tenants::All, &["work"], 3).await;
        for lease in claimed.leases {
            assert!(seen.insert(lease.job.id), "leased twice");
        }
    }
    assert_eq!(seen.len(), 30);
}

/// How many jobs each claim of a batch has got, or why none.
async fn claimed_at_once(world: &World, batch: Vec<Command>) -> Vec<Result<usize, CommandError>> {
    let outcomes = world.commit(batch).await.outcomes.into_iter();
    let leases = |outcome| match outcome {
        Outcome::Claimed(claimed) => claimed.leases.len(),
        other => panic!("claiming answered {other:?}"),
    };
    outcomes.map(|outcome| outcome.map(leases)).collect()
}

pub(super) async fn claims_of_one_batch_keep_to_limits_and_states(world: World) {
    world.enqueue_all("acme", (0..LIMIT + 3).map(|_| of_type(LIMITED)).collect()).await;
    world.enqueue("other", work()).await;
    world.operate("other", Operation::SetState(TenantState::Suspended)).await.expect("suspended");
    let (limited, suspended) = (|| claim(one("acme"), &[LIMITED], 2), || claim(one("other"), &["work"], 1));
    let got = claimed_at_once(&world, vec![limited(), suspended(), limited(), suspended(), limited()]).await;
    let leases = |place: usize| got[place].clone().expect("it is active");
    assert_eq!([0, 2, 4].map(leases).iter().sum::<usize>(), LIMIT as usize);
    for place in [1, 3] {
        assert_eq!(got[place], Err(CommandError::TenantSuspended));
    }
}

pub(super) async fn as_many_claims_as_there_are_in_one_batch_get_what_is_ready(world: World) {
    world.enqueue_all("acme", (0..1_450).map(|_| work()).collect()).await;
    let got = claimed_at_once(&world, vec![claim(one("acme"), &["work"], 100); 16]).await;
    let got: Vec<_> = got.into_iter().map(|leases| leases.expect("it is active")).collect();
    assert_eq!(got, [&[100; 14][..], &[50, 0]].concat());
}

pub(super) async fn claims_of_several_kinds_in_one_batch_get_what_is_ready(world: World) {
    world.enqueue_all("acme", (0..600).map(|_| work()).collect()).await;
    let others: Vec<_> = (0..8).map(|n| format!("other-{n}")).collect();
    let batch = others.iter().map(|other| claim(one("acme"), &["work", other], 100)).collect();
    let got = claimed_at_once(&world, batch).await.into_iter();
    assert_eq!(got.map(|leases| leases.expect("it is active")).sum::<usize>(), 600);
}

pub(super) async fn claims_of_one_batch_share_what_there_is(world: World) {
    let made = world.enqueue_all("acme", (0..10).map(|_| work()).collect()).await;
    world.enqueue("other", work()).await;
    let (acme, other) = (|max| claim(one("acme"), &["work"], max), claim(one("other"), &["work"], 9));
    let batch = vec![acme(3), claim(one("acme"), &["rest"], 5), acme(4), other, acme(1), acme(5), acme(5)];
    let leased: Vec<_> = world
        .commit(batch)
        .await
        .outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Ok(Outcome::Claimed(claimed)) => {
                claimed.leases.into_iter().map(|lease| lease.job.id).collect::<Vec<_>>()
            }
            other => panic!("claiming answered {other:?}"),
        })
        .collect();
    assert_eq!(leased.iter().map(Vec::len).collect::<Vec<_>>(), [3, 0, 4, 1, 1, 2, 0]);
    let of_acme = [&leased[0][..], &leased[2], &leased[4], &leased[5]].concat();
    assert_eq!(of_acme, made.iter().map(|enqueued| enqueued.id).collect::<Vec<_>>(), "in their order");
}

pub(super) async fn a_suspended_tenants_jobs_stay(world: World) {
    world.enqueue("acme", work()).await;
    world.enqueue("other", work()).await;
    world.operate("acme", Operation::SetState(TenantState::Suspended)).await.expect("suspended");
    assert_eq!(tenants_of(&world.claim(Tenants::All, &["work"], 10).await), ["other"]);
    let refused = world
        .run(crate::Command::Claim(crate::Claim {
            tenants: one("acme"),
            worker: tidings_core::WorkerName::new("w1").expect("valid"),
            types: vec![super::world::job_type("work")],
            max: 1,
            length: Duration::from_secs(30),
        }))
        .await;
    assert!(matches!(refused, Err(CommandError::TenantSuspended)));
    world.operate("acme", Operation::SetState(TenantState::Active)).await.expect("active");
    assert_eq!(tenants_of(&world.claim(Tenants::All, &["work"], 10).await), ["acme"]);
}

pub(super) async fn a_job_can_be_leased_in_the_commit_that_makes_it(world: World) {
    let worker = WorkerName::new("maker").expect("valid");
    let leased = |new: NewJob| Operation::EnqueueLeased { job: new, worker: worker.clone(), length: LEASE };
    let mut new = work();
    new.spec.unique_key = Some(UniqueKey::new("only").expect("valid"));
    // A time of its own does not hold it back.
    new.run_at = Some(world.clock.now() + Duration::from_mins(1));
    let claimed = match world.operate("acme", leased(new.clone())).await {
        Ok(Outcome::Claimed(claimed)) => claimed,
        other => panic!("answered {other:?}"),
    };
    let job = &claimed.leases[0].job;
    assert_eq!((job.id, job.lease_no, job.attempt), (new.id, 1, 1));
    assert_eq!(world.story("acme", new.id).await, ["job.queued", "job.started"]);
    assert!(world.claim(one("acme"), &["work"], 10).await.leases.is_empty());
    let again = NewJob { id: job_id(), ..new.clone() };
    assert!(matches!(
        world.operate("acme", leased(again)).await,
        Err(CommandError::Refused(Refused::NotDue))
    ));
    world.complete("acme", new.id, 1).await.expect("its own lease");
}

pub(super) async fn a_job_leased_as_it_is_made_counts_against_its_types_limit(world: World) {
    let worker = WorkerName::new("maker").expect("valid");
    let leased = |new: NewJob| Operation::EnqueueLeased { job: new, worker: worker.clone(), length: LEASE };
    let mut held = Vec::new();
    for _ in 0..LIMIT {
        match world.operate("acme", leased(of_type(LIMITED))).await {
            Ok(Outcome::Claimed(claimed)) => held.extend(claimed.leases),
            other => panic!("answered {other:?}"),
        }
    }
    let refused = of_type(LIMITED);
    assert!(matches!(
        world.operate("acme", leased(refused.clone())).await,
        Err(CommandError::Refused(Refused::Limited))
    ));
    let job = world.store.job(&tenant_id("acme"), refused.id).await.expect("reads");
    assert!(job.is_none(), "nothing of it was done");
    assert!(world.operate("other", leased(of_type(LIMITED))).await.is_ok(), "each tenant has its own limit");
    world.complete("acme", held[0].job.id, 1).await.expect("its own lease");
    assert!(world.operate("acme", leased(refused)).await.is_ok());
}
