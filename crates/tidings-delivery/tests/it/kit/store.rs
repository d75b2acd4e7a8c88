use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_core::{Epoch, Event, Job, JobId, KeyId, Seq, TenantId};
use tidings_store::{
    Batch, CommitError, Committed, EventPage, JobPage, JobQuery, KeyRecord, LogState, PageLimit, QueueStats,
    ReadError, Revocation, Store, TenantRecord,
};

/// One tenant's log. Reads events and nothing else.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore(Mutex<Vec<Arc<Event>>>);

impl MemoryStore {
    pub(crate) fn append(&self, events: &[Arc<Event>]) {
        self.0.lock().extend_from_slice(events);
    }

    pub(crate) fn head(&self) -> u64 {
        self.0.lock().len() as u64
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

    async fn log_state(&self, tenant: &TenantId) -> Result<Option<LogState>, ReadError> {
        Ok((*tenant == super::tenant()).then(|| self.state()))
    }

    async fn events(
        &self,
        _: &TenantId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        let log = self.state();
        let events = self.0.lock();
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
