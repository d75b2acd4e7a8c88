use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_core::{Epoch, Event, Job, JobId, KeyId, Seq, TenantId};
use tidings_store::{
    Batch, Cluster, ClusterError, CommitError, Committed, Duty, EventPage, JobPage, JobQuery, KeyRecord,
    LogState, Moves, PageLimit, QueueStats, ReadError, Revocation, Seen, Store, TenantRecord, Term,
};

/// One tenant's log. Reads events and nothing else.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    log: Mutex<Vec<Arc<Event>>>,
    /// Other servers use it too, or could.
    pub(crate) shared: AtomicBool,
    /// It is out of reach.
    pub(crate) down: AtomicBool,
}

impl MemoryStore {
    pub(crate) fn append(&self, events: &[Arc<Event>]) {
        self.log.lock().extend_from_slice(events);
    }

    pub(crate) fn head(&self) -> u64 {
        self.log.lock().len() as u64
    }

    fn reach(&self) -> Result<(), ReadError> {
        if self.down.load(Relaxed) { Err(ReadError::Unavailable("it is down".into())) } else { Ok(()) }
    }

    fn state(&self) -> LogState {
        let epoch = Epoch::parse("abcd2345").expect("valid");
        LogState { epoch, head: Seq::new(self.head()), oldest: Seq::new(1) }
    }
}

fn nothing<T>() -> Result<T, ReadError> {
    Err(ReadError::Unavailable("this store has events alone".into()))
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, _: usize, _: &Batch) -> Result<Committed, CommitError> {
        Err(CommitError::Unavailable("this store is read".into()))
    }

    fn cluster(&self) -> Option<&dyn Cluster> {
        self.shared.load(Relaxed).then_some(self as _)
    }

    async fn log_state(&self, tenant: &TenantId) -> Result<Option<LogState>, ReadError> {
        self.reach()?;
        Ok((*tenant == super::tenant()).then(|| self.state()))
    }

    async fn events(
        &self,
        _: &TenantId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        self.reach()?;
        let log = self.state();
        let events = self.log.lock();
        let found = events.iter().skip(after.get() as usize).take(limit.events).map(|e| Event::clone(e));
        let events: Vec<_> = found.collect();
        let scanned_to = events.last().map_or(after, |e| e.seq);
        Ok(Some(EventPage { events, scanned_to, log }))
    }

    async fn job_events(
        &self,
        _: &TenantId,
        _: JobId,
        _: Seq,
        _: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        nothing()
    }

    async fn event(&self, _: &TenantId, _: Seq) -> Result<Option<Event>, ReadError> {
        nothing()
    }

    async fn job(&self, _: &TenantId, _: JobId) -> Result<Option<Job>, ReadError> {
        nothing()
    }

    async fn jobs(&self, _: &TenantId, _: &JobQuery) -> Result<JobPage, ReadError> {
        nothing()
    }

    async fn queues(&self, _: &TenantId) -> Result<Vec<QueueStats>, ReadError> {
        nothing()
    }

    async fn tenant(&self, _: &TenantId) -> Result<Option<TenantRecord>, ReadError> {
        nothing()
    }

    async fn tenants(&self, _: Option<&TenantId>, _: usize) -> Result<Vec<TenantRecord>, ReadError> {
        nothing()
    }

    async fn key(&self, _: KeyId) -> Result<Option<KeyRecord>, ReadError> {
        nothing()
    }

    async fn keys(
        &self,
        _: Option<&TenantId>,
        _: Option<KeyId>,
        _: usize,
    ) -> Result<Vec<KeyRecord>, ReadError> {
        nothing()
    }

    async fn revocations(&self, _: u64) -> Result<Vec<Revocation>, ReadError> {
        nothing()
    }
}

fn unshared<T>() -> Result<T, ClusterError> {
    Err(ClusterError::Unavailable("this store has events alone".into()))
}

#[async_trait]
impl Cluster for MemoryStore {
    async fn beat(&self) -> Result<(), ClusterError> {
        unshared()
    }

    async fn moves(&self, _: &mut Seen) -> Result<Moves, ClusterError> {
        self.reach().map_err(|error| ClusterError::Unavailable(error.to_string()))?;
        let LogState { epoch, head, .. } = self.state();
        Ok(Moves { heads: vec![(super::tenant(), epoch, head)], complete: true })
    }

    async fn lead(&self, _: Duty) -> Result<Option<Term>, ClusterError> {
        unshared()
    }

    async fn resign(&self, _: Duty) -> Result<(), ClusterError> {
        unshared()
    }

    async fn secret(&self, _: &str) -> Result<Option<Vec<u8>>, ClusterError> {
        unshared()
    }

    async fn offer_secret(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, ClusterError> {
        unshared()
    }

    async fn replace_secret(&self, _: &str, _: &[u8], _: &[u8]) -> Result<bool, ClusterError> {
        unshared()
    }
}
