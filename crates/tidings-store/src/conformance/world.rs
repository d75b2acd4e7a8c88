use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    Category, Clock, Event, EventBody, EventId, EventType, Failure, Job, JobId, JobType, NewEvent, NewJob,
    RawJson, Seq, SystemEntropy, TenantId, Tenants, Timestamp, WorkerName,
    job::{FailOptions, JobSpec, LeaseNo},
};

use super::Fixture;
use crate::{
    Batch, Claim, Claimed, Command, CommandError, Committed, Enqueued, Operation, Outcome, PageLimit,
    Published, Store,
};

/// A clock that a test moves.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }

    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new(Timestamp::from_secs(1_800_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// The type that at most [`LIMIT`] jobs of run at once in a tenant.
pub(super) const LIMITED: &str = "limited";
pub(super) const LIMIT: u32 = 2;
pub(crate) const LEASE: Duration = Duration::from_secs(30);
pub(super) const PAGE: PageLimit = PageLimit { events: 1_000, bytes: 1 << 20 };

/// A store under trial, with its clock.
#[derive(Clone)]
pub struct World {
    pub store: Arc<dyn Store>,
    pub clock: Arc<ManualClock>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.clock.now()).finish_non_exhaustive()
    }
}

impl World {
    pub async fn open(fixture: &dyn Fixture) -> Self {
        let clock = Arc::new(ManualClock::default());
        let concurrency = [(job_type(LIMITED), LIMIT)].into();
        let store = fixture.open(Arc::<ManualClock>::clone(&clock), concurrency).await;
        Self { store, clock }
    }

    pub async fn commit(&self, commands: Vec<Command>) -> Committed {
        self.store.commit(0, &Batch { commands }).await.expect("the batch commits")
    }

    pub async fn run(&self, command: Command) -> Result<Outcome, CommandError> {
        self.commit(vec![command]).await.outcomes.remove(0)
    }

    /// In a tenant that is made where it is missing.
    pub async fn operate(&self, tenant: &str, operation: Operation) -> Result<Outcome, CommandError> {
        self.run(in_tenant(tenant, operation)).await
    }

    pub async fn enqueue_all(&self, tenant: &str, jobs: Vec<NewJob>) -> Vec<Enqueued> {
        match self.operate(tenant, Operation::Enqueue { jobs, idempotency: None }).await {
            Ok(Outcome::Enqueued(enqueued)) => enqueued,
            other => panic!("enqueueing answered {other:?}"),
        }
    }

    pub async fn enqueue(&self, tenant: &str, new: NewJob) -> JobId {
        self.enqueue_all(tenant, vec![new]).await[0].id
    }

    pub async fn publish(&self, tenant: &str, count: usize) -> Vec<Published> {
        let events = (0..count).map(|n| event(&format!("{{\"n\":{n}}}"))).collect();
        match self.operate(tenant, Operation::Publish { events, idempotency: None }).await {
            Ok(Outcome::Published(published)) => published,
            other => panic!("publishing answered {other:?}"),
        }
    }

    pub async fn claim(&self, tenants: Tenants, types: &[&str], max: usize) -> Claimed {
        match self.run(claim(tenants, types, max)).await {
            Ok(Outcome::Claimed(claimed)) => claimed,
            other => panic!("claiming answered {other:?}"),
        }
    }

    /// The one job that is due in a tenant.
    pub async fn lease(&self, tenant: &str) -> Job {
        let claimed = self.claim(one(tenant), &["work"], 1).await;
        claimed.leases.into_iter().next().expect("a job is due").job
    }

    pub async fn complete(&self, tenant: &str, job: JobId, lease_no: LeaseNo) -> Result<Job, CommandError> {
        self.job_after(tenant, Operation::Complete { job, lease_no, result: None, pending: None }).await
    }

    pub async fn fail(&self, tenant: &str, job: JobId, lease_no: LeaseNo) -> Result<Job, CommandError> {
        let failure = Failure::new(Category::Inference, "the model said no");
        let options = FailOptions { failure, retryable: true, retry_in: Some(Duration::from_secs(5)) };
        self.job_after(tenant, Operation::Fail { job, lease_no, options, pending: None }).await
    }

    pub async fn job_after(&self, tenant: &str, operation: Operation) -> Result<Job, CommandError> {
        match self.operate(tenant, operation).await? {
            Outcome::Job(job) => Ok(*job),
            other => panic!("answered {other:?}"),
        }
    }

    pub async fn job(&self, tenant: &str, id: JobId) -> Job {
        self.store.job(&tenant_id(tenant), id).await.expect("reads").expect("exists")
    }

    /// The whole log that is kept.
    pub async fn log(&self, tenant: &str) -> Vec<Event> {
        let mut events = Vec::new();
        let mut after = Seq::ZERO;
        loop {
            let page =
                self.store.events(&tenant_id(tenant), after, PAGE).await.expect("reads").expect("exists");
            if page.events.is_empty() {
                return events;
            }
            after = page.scanned_to;
            events.extend(page.events);
        }
    }

    /// The types of a job's events, in order.
    pub async fn story(&self, tenant: &str, job: JobId) -> Vec<String> {
        let page = self.store.job_events(&tenant_id(tenant), job, Seq::ZERO, PAGE).await.expect("reads");
        page.expect("exists").events.iter().map(|event| event.fact.event_type.to_string()).collect()
    }
}

pub(crate) fn claim(tenants: Tenants, types: &[&str], max: usize) -> Command {
    Command::Claim(Claim {
        tenants,
        worker: WorkerName::new("w1").expect("valid"),
        types: types.iter().map(|t| job_type(t)).collect(),
        max,
        length: LEASE,
    })
}

pub(crate) fn in_tenant(tenant: &str, operation: Operation) -> Command {
    Command::Tenant { tenant: tenant_id(tenant), create: true, operation }
}

pub(crate) fn tenant_id(text: &str) -> TenantId {
    TenantId::new(text).expect("valid")
}

pub(super) fn job_type(text: &str) -> JobType {
    JobType::new(text).expect("valid")
}

pub(crate) fn one(tenant: &str) -> Tenants {
    Tenants::One(tenant_id(tenant))
}

/// A job of the type `work`.
pub(crate) fn work() -> NewJob {
    of_type("work")
}

pub(super) fn of_type(text: &str) -> NewJob {
    let payload = RawJson::parse(r#"{"z":1,"a":[2.50]}"#).expect("valid");
    NewJob { id: job_id(), spec: JobSpec::new(job_type(text), payload), run_at: None }
}

/// Ids rise in the order that they are asked for.
pub(crate) fn job_id() -> JobId {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    let millis = NEXT.fetch_add(1, Ordering::SeqCst);
    JobId::generate(Timestamp::from_micros(1_800_000_000_000_000 + millis * 1_000), &SystemEntropy)
}

pub(crate) fn event(data: &str) -> NewEvent {
    NewEvent {
        id: EventId::generate(Timestamp::from_secs(1_800_000_000), &SystemEntropy),
        event_type: EventType::published("note.created").expect("valid"),
        job: None,
        owner: None,
        subject: None,
        body: EventBody::same_for_all(RawJson::parse(data).expect("valid")),
    }
}
