//! What every store that takes in another one's tenants must do. It is apart from [`CASES`](super::CASES),
//! since it needs two stores.

use std::{io::BufReader, sync::Arc, time::Duration};

use tidings_core::{
    Clock as _, EndpointId, Epoch, JobId, JobState, NewJob, ReplayId, SecretId, Seq, TenantId, Timestamp,
};

use super::{
    keys::key,
    schedules,
    webhook_reports::{dead, report, retrying},
    webhooks::{hooks, put, to},
    world::{LEASE, World, event, in_tenant, one, tenant_id, work},
};
use crate::{
    Command, EndpointChange, Import, ImportError, Imported, LogState, Operation, ReplayWhat, Seals, Store,
    TenantRecord, TenantState, export, import,
};

/// Seals by turning every bit and saying under which key.
struct Toy(u8);

impl Seals for Toy {
    fn open(&self, _: (&TenantId, EndpointId, SecretId), sealed: &[u8]) -> Result<Vec<u8>, String> {
        match sealed.split_first() {
            Some((key, text)) if *key == self.0 => Ok(text.iter().map(|byte| !byte).collect()),
            _ => Err("it is sealed under another key".into()),
        }
    }

    fn seal(&self, _: (&TenantId, EndpointId, SecretId), secret: &[u8]) -> Result<Vec<u8>, String> {
        if self.0 == NONE.0 { Err("there is no key".into()) } else { Ok(self.sealed(secret)) }
    }
}

impl Toy {
    fn sealed(&self, secret: &[u8]) -> Vec<u8> {
        [self.0].into_iter().chain(secret.iter().map(|byte| !byte)).collect()
    }
}

/// Of whoever has not given a key.
const NONE: Toy = Toy(0);

const FROM: Toy = Toy(1);
const INTO: Toy = Toy(2);

/// Moves what `source` holds into an empty `target`, cut off on the way, and goes on there. Both are of
/// this suite's making; `into` is `target` too.
pub async fn tenants_move_with_their_numbers(source: World, target: World, into: Arc<dyn Import>) {
    let (waiting, stories) = fill(&source).await;
    let archive = archive_of(&source, &FROM).await;
    target.clock.set(source.clock.now());
    let keyless = import(&*into, &*target.store, &NONE, &mut BufReader::new(&archive[..]), &mut |_| {}).await;
    assert!(matches!(keyless, Err(ImportError::Secret { .. })), "{keyless:?}");
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
    assert!(archive_of(&target, &INTO).await == archive, "what is exported from there is the same");
    let again = read(&archive, &*into, &*target.store).await.expect("nothing is left to do");
    assert_eq!((again.events, again.tenants), (0, 2));
    it_goes_on(&source, &target, &*into, waiting).await;
}

/// A worker's lease goes on with what was left of it, however long the move took.
pub async fn a_running_job_moves_with_the_rest_of_its_lease(
    source: World,
    target: World,
    into: Arc<dyn Import>,
) {
    const AWAY: Duration = Duration::from_hours(3);
    source.enqueue("acme", work()).await;
    let job = source.lease("acme").await.id;
    source.clock.advance(LEASE / 3);
    let archive = archive_of(&source, &FROM).await;
    target.clock.set(source.clock.now());
    target.clock.advance(AWAY);
    read(&archive, &*into, &*target.store).await.expect("taken in");
    let [before, after] = [lease_end(&source, job).await, lease_end(&target, job).await];
    assert_eq!(after.since(before), AWAY);
    read(&archive, &*into, &*target.store).await.expect("nothing is left to do");
    assert_eq!(lease_end(&target, job).await, after, "once");
    if let Some(cluster) = target.store.cluster() {
        target.clock.advance(AWAY);
        cluster.beat().await.expect("the first server starts");
        assert_eq!(lease_end(&target, job).await.since(after), AWAY);
    }
    target.clock.advance(LEASE / 3);
    target.complete("acme", job, 1).await.expect("its worker reports, and is not fenced off");
}

/// An import that was cut off goes on, though an outage has moved the leases that it had put. For stores that servers
/// share.
pub async fn an_import_goes_on_where_an_outage_moved_leases(
    source: World,
    target: World,
    into: Arc<dyn Import>,
) {
    source.enqueue("acme", work()).await;
    let job = source.lease("acme").await.id;
    // Jobs are put before events, and both by the hundreds.
    source.publish("acme", 800).await;
    let archive = archive_of(&source, &FROM).await;
    let cut = read(&archive[..archive.len() - 2], &*into, &*target.store).await.expect_err("it was cut off");
    assert!(matches!(cut, ImportError::CutOff), "{cut:?}");
    let before = lease_end(&target, job).await;
    let cluster = target.store.cluster().expect("servers share it");
    cluster.beat().await.expect("beats");
    target.clock.advance(Duration::from_hours(1));
    cluster.beat().await.expect("beats");
    assert_eq!(lease_end(&target, job).await.since(before), Duration::from_hours(1));
    read(&archive, &*into, &*target.store).await.expect("the rest is taken in");
}

async fn lease_end(world: &World, job: JobId) -> Timestamp {
    match world.job("acme", job).await.state {
        JobState::Running { lease, .. } => lease.expires_at,
        other => panic!("it runs, and is not {other:?}"),
    }
}

async fn archive_of(world: &World, seals: &dyn Seals) -> Vec<u8> {
    let mut archive = Vec::new();
    let done = export(&*world.store, seals, world.clock.now(), &mut archive, &mut |_, _| {}).await;
    done.expect("a Vec takes every write");
    archive
}

async fn read(archive: &[u8], into: &dyn Import, store: &dyn Store) -> Result<Imported, ImportError> {
    import(into, store, &INTO, &mut BufReader::new(archive), &mut |_| {}).await
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
    fill_webhooks(source).await;
    source.publish("quiet", 2).await;
    source.operate("quiet", Operation::SetState(TenantState::Suspended)).await.expect("known");
    (waiting, stories)
}

/// One endpoint that is behind in every way, and one that is paused.
async fn fill_webhooks(source: &World) {
    let mut new = super::webhooks::new_endpoint();
    new.secrets[0].sealed = FROM.sealed(b"whsec_x").into();
    new.cursor = Some(Seq::new(7));
    let id = new.id;
    source.operate("acme", Operation::PutEndpoint(Box::new(new))).await.expect("new");
    let mut said = report(id, 1);
    said.deliveries = vec![retrying(3, 2, source.clock.now()), dead(4, source.clock.now())];
    said.failing_since = Some(Some(source.clock.now()));
    said.quiet_until = Some(source.clock.now());
    source.operate("acme", Operation::Report(Box::new(said))).await.expect("is there");
    let what = ReplayWhat::Range { id: ReplayId::from_bytes([5; 16]), from: Seq::new(2), to: Seq::new(9) };
    source.operate("acme", Operation::Replay { endpoint: id, what }).await.expect("is there");
    let mut other = super::webhooks::new_endpoint();
    other.secrets.clear();
    let other_id = other.id;
    source.operate("acme", Operation::PutEndpoint(Box::new(other))).await.expect("new");
    source.operate("acme", to(other_id, EndpointChange::Pause)).await.expect("active");
}

async fn it_goes_on(source: &World, target: &World, into: &dyn Import, waiting: Vec<JobId>) {
    let head = source.log("acme").await.len() as u64;
    assert_eq!(target.publish("acme", 1).await[0].seq, Seq::new(head + 1));
    let claimed = target.claim(one("acme"), &["work"], 2).await;
    let order: Vec<_> = claimed.leases.iter().map(|leased| leased.job.id).collect();
    assert_eq!(order, waiting, "in the order in which they came");
    target.clock.advance(Duration::from_hours(1));
    assert_eq!(schedules::fire(target, 10).await.rows, 1, "an active tenant's schedules go on");
    let publish = Operation::Publish { events: vec![event("1")], idempotency: None };
    assert!(target.run(in_tenant("quiet", publish)).await.is_err(), "it stays suspended");
    let served = hooks(target).dispatchable(None, 0, 10).await.expect("reads");
    let sealed: Vec<_> =
        served.iter().filter_map(|served| served.endpoint.as_ref()?.secrets.first()).collect();
    assert_eq!(served.iter().filter(|served| served.endpoint.is_some()).count(), 2);
    assert_eq!(sealed.len(), 1);
    assert_eq!(sealed[0].sealed[..], INTO.sealed(b"whsec_x"));
    put(target, "acme").await;
    let tenant = target.store.tenant(&tenant_id("acme")).await.expect("reads").expect("is there");
    let epoch = Epoch::parse("anotherone").expect("valid");
    let stranger = TenantRecord { log: LogState { epoch, ..tenant.log.clone() }, ..tenant };
    let refused = into.begin(&stranger).await.expect_err("it is another history");
    assert!(matches!(refused, ImportError::OtherHistory(_)), "{refused:?}");
}
