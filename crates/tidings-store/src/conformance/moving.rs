//! What every store that takes in another one's tenants must do. It is apart from [`CASES`](super::CASES),
//! since it needs two stores.

use std::{io::BufReader, sync::Arc, time::Duration};

use tidings_core::{Clock as _, Epoch, JobId, NewJob, Seq, Timestamp};

use super::{
    keys::key,
    schedules,
    world::{World, event, in_tenant, one, tenant_id, work},
};
use crate::{
    Command, Import, ImportError, Imported, LogState, Operation, Store, TenantRecord, TenantState, export,
    import,
};

/// Moves what `source` holds into an empty `target`, cut off on the way, and goes on there. Both are of
/// this suite's making; `into` is `target` too.
pub async fn tenants_move_with_their_numbers(source: World, target: World, into: Arc<dyn Import>) {
    let (waiting, stories) = fill(&source).await;
    let archive = archive_of(&*source.store).await;
    for cut in [archive.len() / 3, archive.len() * 2 / 3, archive.len() - 2] {
        let error = read(&archive[..cut], &*into, &*target.store).await.expect_err("it was cut off");
        assert!(matches!(error, ImportError::CutOff | ImportError::Line { .. }), "{error:?}");
    }
    let moved = read(&archive, &*into, &*target.store).await.expect("the rest is taken in");
    assert_eq!(moved.tenants, 2);
    assert!(moved.events > 0 && moved.events_found > 0, "what came before a cut stays: {moved:?}");
    assert_eq!(target.log("acme").await, source.log("acme").await);
    for job in &stories {
        assert_eq!(target.job("acme", *job).await, source.job("acme", *job).await);
        assert_eq!(target.story("acme", *job).await, source.story("acme", *job).await);
    }
    assert!(archive_of(&*target.store).await == archive, "what is exported from there is the same");
    let again = read(&archive, &*into, &*target.store).await.expect("nothing is left to do");
    assert_eq!((again.events, again.tenants), (0, 2));
    it_goes_on(&source, &target, &*into, waiting).await;
}

async fn archive_of(store: &dyn Store) -> Vec<u8> {
    let mut archive = Vec::new();
    export(store, &mut archive, &mut |_, _| {}).await.expect("a Vec takes every write");
    archive
}

async fn read(archive: &[u8], into: &dyn Import, store: &dyn Store) -> Result<Imported, ImportError> {
    import(into, store, &mut BufReader::new(archive), &mut |_| {}).await
}

/// Jobs in several states, keys of a tenant and of the operator, and a suspended tenant. Returns jobs that
/// wait, in their order, and jobs that have a story.
async fn fill(source: &World) -> (Vec<JobId>, Vec<JobId>) {
    for _ in 0..3 {
        source.publish("acme", 400).await;
    }
    let mut stories = Vec::new();
    for _ in 0..3 {
        source.enqueue("acme", work()).await;
        stories.push(source.lease("acme").await.id);
    }
    source.complete("acme", stories[0], 1).await.expect("leased");
    source.fail("acme", stories[1], 1).await.expect("leased");
    source.operate("acme", Operation::Cancel { job: stories[2] }).await.expect("it runs");
    let later = NewJob { run_at: Some(Timestamp::from_secs(1_900_000_000)), ..work() };
    stories.push(source.enqueue("acme", later).await);
    let waiting = vec![source.enqueue("acme", work()).await, source.enqueue("acme", work()).await];
    source.operate("acme", Operation::PutKey(key(1, one("acme")))).await.expect("put");
    source.run(Command::PutOperatorKey(key(2, one("acme")))).await.expect("put");
    for (tenant, name) in [("acme", "nightly"), ("quiet", "hourly")] {
        schedules::put(source, tenant, schedules::spec(name, "0 * * * *")).await;
    }
    source.publish("quiet", 2).await;
    source.operate("quiet", Operation::SetState(TenantState::Suspended)).await.expect("known");
    (waiting, stories)
}

async fn it_goes_on(source: &World, target: &World, into: &dyn Import, waiting: Vec<JobId>) {
    target.clock.set(source.clock.now());
    let head = source.log("acme").await.len() as u64;
    assert_eq!(target.publish("acme", 1).await[0].seq, Seq::new(head + 1));
    let claimed = target.claim(one("acme"), &["work"], 2).await;
    let order: Vec<_> = claimed.leases.iter().map(|leased| leased.job.id).collect();
    assert_eq!(order, waiting, "in the order in which they came");
    target.clock.advance(Duration::from_hours(1));
    assert_eq!(schedules::fire(target, 10).await.rows, 1, "an active tenant's schedules go on");
    let publish = Operation::Publish { events: vec![event("1")], idempotency: None };
    assert!(target.run(in_tenant("quiet", publish)).await.is_err(), "it stays suspended");
    let tenant = target.store.tenant(&tenant_id("acme")).await.expect("reads").expect("is there");
    let epoch = Epoch::parse("anotherone").expect("valid");
    let stranger = TenantRecord { log: LogState { epoch, ..tenant.log.clone() }, ..tenant };
    let refused = into.begin(&stranger).await.expect_err("it is another history");
    assert!(matches!(refused, ImportError::OtherHistory(_)), "{refused:?}");
}
