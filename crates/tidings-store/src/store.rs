use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use tidings_core::{Event, Job, JobId, JobType, KeyId, Schedule, ScheduleName, Seq, TenantId};

use crate::{
    Batch, Cluster, CommitError, Committed, EventPage, Import, JobPage, JobQuery, KeyRecord, LogState,
    PageLimit, QueueStats, ReadError, Revocation, TenantRecord, Webhooks,
};

/// A database that keeps the log and the queue. Time is the store's own.
///
/// Every read takes its tenant, and finds another tenant's ids exactly as it finds ids that never were.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// How many batches may be in flight at once: the journal has so many lanes, and a tenant's commands
    /// keep to one of them.
    fn lanes(&self) -> usize {
        1
    }

    /// Whether [`Maintain::Retain`](crate::Maintain::Retain) has a lane of its own, numbered [`lanes`](Self::lanes): a store whose
    /// retention waits for others says so, and holds no tenant up meanwhile.
    fn retains_apart(&self) -> bool {
        false
    }

    /// Whether what dispatchers report is committed in a transaction of its own: such a store gets reports in batches of
    /// their own, and what was gathered with them does not wait for them. What comes meanwhile does.
    fn reports_apart(&self) -> bool {
        false
    }

    /// Commits a batch in one transaction; when it returns, the batch is on stable storage. Each lane,
    /// from 0 to below [`lanes`](Self::lanes), and retention's own, has at most one call in flight. Each tenant's seqs go on
    /// without a gap, and `time` never falls within a tenant.
    ///
    /// It may block its thread: the journal gives each lane a thread of its own. The batch stays the
    /// caller's, which gives the parts of a rejected one again.
    async fn commit(&self, lane: usize, batch: &Batch) -> Result<Committed, CommitError>;

    /// From the next batch on, at most so many jobs of a type run at once in each tenant; of a type that is not named, any number. What
    /// runs already goes on.
    fn limit_jobs(&self, concurrency: HashMap<JobType, u32>);

    /// What the servers on this database share, where it is not this process's alone.
    fn cluster(&self) -> Option<&dyn Cluster> {
        None
    }

    /// The way by which another store's tenants come in, where there is one.
    fn importer(&self) -> Option<&dyn Import> {
        None
    }

    /// What it keeps of webhooks. `None`: a stand-in that keeps none; every store does.
    fn webhooks(&self) -> Option<&dyn Webhooks> {
        None
    }

    /// Whether the database answers at all: a look that waits for nobody's reads.
    async fn answers(&self) -> Result<(), ReadError> {
        self.tenants(None, 1).await.map(drop)
    }

    /// `None` for a tenant that does not exist or was deleted.
    async fn log_state(&self, tenant: &TenantId) -> Result<Option<LogState>, ReadError>;

    /// Events after `after`, in order. Where `after` lies behind the oldest, it starts at the oldest.
    async fn events(
        &self,
        tenant: &TenantId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError>;

    /// One job's events after `after`, in order; `scanned_to` speaks of this job's events alone.
    async fn job_events(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError>;

    /// The events of these seqs that are kept; for tests and repair.
    async fn event(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Event>, ReadError>;

    async fn job(&self, tenant: &TenantId, id: JobId) -> Result<Option<Job>, ReadError>;

    async fn jobs(&self, tenant: &TenantId, query: &JobQuery) -> Result<JobPage, ReadError>;

    /// Sorted by job type.
    async fn queues(&self, tenant: &TenantId) -> Result<Vec<QueueStats>, ReadError>;

    async fn schedule(&self, tenant: &TenantId, name: &ScheduleName) -> Result<Option<Schedule>, ReadError>;

    /// Sorted by name, after `after`; at most `limit`.
    async fn schedules(
        &self,
        tenant: &TenantId,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Vec<Schedule>, ReadError>;

    /// How long it is until a schedule of any active tenant is due; zero where one is due now.
    async fn next_fire_in(&self) -> Result<Option<Duration>, ReadError>;

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, ReadError>;

    /// Sorted by id, after `after`; at most `limit`.
    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantRecord>, ReadError>;

    /// Any tenant's key, revoked ones included: the look-up that makes a principal.
    async fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, ReadError>;

    /// A tenant's keys (`None`: the operator's), newest first, below `before`; at most `limit`.
    async fn keys(
        &self,
        tenant: Option<&TenantId>,
        before: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, ReadError>;

    /// Finishes what is under way and lets go of everything. Later calls fail as unavailable; closing again
    /// does nothing.
    async fn close(&self) {}

    /// Revocations after the `n`th; at most 1,000.
    async fn revocations(&self, after: u64) -> Result<Vec<Revocation>, ReadError>;
}
