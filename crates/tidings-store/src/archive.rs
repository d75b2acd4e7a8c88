//! Moving tenants from one store to another, with their numbers.
//!
//! [`export`] writes everything that a store keeps of its tenants as lines of JSON, and [`import`] reads
//! them into a store that implements [`Import`]. Seqs, epochs, fences, ids and times stay what they were,
//! so that cursors, leases and API keys go on counting; running leases get the time that the move takes. An import that was cut off is simply run again:
//! it goes on where each tenant's log ends. At its end it reads everything back and compares digests.
//!
//! The secrets of webhook endpoints are sealed under a key of the store's servers: [`Seals`] opens them on their way out and
//! seals them for where they go. The archive has them open.
//!
//! Idempotency keys, redeemed tickets, the log of webhook attempts and what deleted tenants left are not moved.

mod digest;
mod endpoint_line;
mod export;
mod import;
mod record;
mod schedule_line;
mod walk;

use async_trait::async_trait;
use tidings_core::{
    Endpoint, EndpointId, Event, Job, Schedule, SecretId, Seq, TenantId, Timestamp,
    webhook::{Delivery, Replay},
};

use crate::{CommitError, KeyRecord, ReadError, TenantRecord, TenantState};

pub use export::{Exported, export};
pub use import::{Imported, import};

/// A store that takes in what another one kept. Nothing else may write to these tenants meanwhile; until
/// [`finish`](Import::finish) they are suspended, so that nothing does.
#[async_trait]
pub trait Import: Send + Sync {
    /// Makes the tenant with this epoch, its log empty from `oldest` on, or finds the one that an earlier
    /// run made. A tenant that lives there with another epoch is refused.
    async fn begin(&self, tenant: &TenantRecord) -> Result<Begun, ImportError>;

    /// Appends events that follow the log's end without a gap, in one transaction; after the jobs that
    /// they name.
    async fn append(&self, tenant: &TenantId, events: &[Event]) -> Result<(), ImportError>;

    /// Puts these jobs, in the order in which they are to be leased where all else is equal; `before` of
    /// the tenant's came earlier. One that is there already stays as it is.
    async fn put_jobs(&self, tenant: &TenantId, before: u64, jobs: &[Job]) -> Result<(), ImportError>;

    /// Puts these schedules; none fires before [`finish`](Import::finish). One that is there already stays as
    /// it is.
    async fn put_schedules(&self, tenant: &TenantId, schedules: &[Schedule]) -> Result<(), ImportError>;

    /// Puts an endpoint with its replays. One that is there already stays as it is.
    async fn put_endpoint(
        &self,
        tenant: &TenantId,
        endpoint: &Endpoint,
        replays: &[Replay],
    ) -> Result<(), ImportError>;

    /// Puts an endpoint's deliveries. Those that are there already stay as they are.
    async fn put_deliveries(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        deliveries: &[Delivery],
    ) -> Result<(), ImportError>;

    /// Puts these keys; `None`: operators' keys. One that is there already stays as it is.
    async fn put_keys(&self, tenant: Option<&TenantId>, keys: &[KeyRecord]) -> Result<(), ImportError>;

    /// Gives the tenant its state, and its running leases the time since `left`, in which no worker could
    /// extend them: from now on it is in use. What is finished already stays as it is.
    async fn finish(
        &self,
        tenant: &TenantId,
        state: TenantState,
        left: Option<Timestamp>,
    ) -> Result<(), ImportError>;
}

/// Opens and seals the secrets of webhook endpoints, each for its place.
pub trait Seals: Send + Sync {
    fn open(&self, place: (&TenantId, EndpointId, SecretId), sealed: &[u8]) -> Result<Vec<u8>, String>;

    /// An error ends the import before anything of the endpoint is put: one that is there stays as it is.
    fn seal(&self, place: (&TenantId, EndpointId, SecretId), secret: &[u8]) -> Result<Vec<u8>, String>;
}

/// How an import finds a tenant. The seq is where its log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// New, or begun by an import that did not end.
    Open(Seq),
    /// An import has ended before: nothing of it is touched.
    InUse(Seq),
}

/// Why tenants were not moved. What was committed stays; run it again.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("reading the store")]
    Read(#[from] ReadError),
    #[error("writing to the store")]
    Commit(#[from] CommitError),
    #[error("the archive")]
    Io(#[from] std::io::Error),
    #[error("line {line} of the archive: {why}")]
    Line { line: u64, why: String },
    #[error("a webhook secret of {tenant}: {why}")]
    Secret { tenant: TenantId, why: String },
    #[error("the archive ends before its end: it was cut off")]
    CutOff,
    #[error("the store has a tenant {0} of another history; delete it there first, or leave it out here")]
    OtherHistory(TenantId),
    #[error("the store has tenant {0} in use already, and its log is not the archive's")]
    InUse(TenantId),
    #[error("this store takes in no archive")]
    Unable,
    #[error("{what} of {tenant} do not read back as they were written")]
    Verification { tenant: String, what: &'static str },
}
