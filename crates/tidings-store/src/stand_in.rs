//! Stores for tests of what stands on one: a test writes the part that it is about.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use tidings_core::{Event, Job, JobId, JobType, KeyId, Schedule, ScheduleName, Seq, TenantId};

use crate::{
    Batch, Beat, Cluster, ClusterError, CommitError, Committed, Duty, EventPage, JobPage, JobQuery,
    KeyRecord, LogState, Moves, PageLimit, PlacesAsked, PlacesGiven, QueueStats, ReadError, Revocation, Seen,
    Store, TenantRecord, Term,
};

/// Part of a [`Store`]; whoever has it is one. What a method here does not say of itself goes to
/// [`rest`](Self::rest).
#[async_trait]
pub trait StandIn: Send + Sync + 'static {
    /// What answers everything else. An error answers in its stead, and is asked for at each call.
    fn rest(&self) -> Result<&dyn Store, ReadError> {
        Err(ReadError::Unavailable("the stand-in has nothing of the kind".into()))
    }

    fn lanes(&self) -> usize {
        self.rest().map_or(1, Store::lanes)
    }

    fn retains_apart(&self) -> bool {
        self.rest().is_ok_and(Store::retains_apart)
    }

    fn reports_apart(&self) -> bool {
        self.rest().is_ok_and(Store::reports_apart)
    }

    async fn commit(&self, lane: usize, batch: &Batch) -> Result<Committed, CommitError> {
        let rest = self.rest().map_err(|error| CommitError::Unavailable(error.to_string()))?;
        rest.commit(lane, batch).await
    }

    fn cluster(&self) -> Option<&dyn Cluster> {
        self.rest().ok()?.cluster()
    }

    async fn log_state(&self, tenant: &TenantId) -> Result<Option<LogState>, ReadError> {
        self.rest()?.log_state(tenant).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        self.rest()?.events(tenant, after, limit).await
    }

    async fn event(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Event>, ReadError> {
        self.rest()?.event(tenant, seq).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, ReadError> {
        self.rest()?.key(id).await
    }
}

#[async_trait]
impl<S: StandIn> Store for S {
    fn lanes(&self) -> usize {
        StandIn::lanes(self)
    }

    fn retains_apart(&self) -> bool {
        StandIn::retains_apart(self)
    }

    fn reports_apart(&self) -> bool {
        StandIn::reports_apart(self)
    }

    async fn commit(&self, lane: usize, batch: &Batch) -> Result<Committed, CommitError> {
        StandIn::commit(self, lane, batch).await
    }

    fn limit_jobs(&self, concurrency: HashMap<JobType, u32>) {
        if let Ok(rest) = self.rest() {
            rest.limit_jobs(concurrency);
        }
    }

    fn cluster(&self) -> Option<&dyn Cluster> {
        StandIn::cluster(self)
    }

    async fn log_state(&self, tenant: &TenantId) -> Result<Option<LogState>, ReadError> {
        StandIn::log_state(self, tenant).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        StandIn::events(self, tenant, after, limit).await
    }

    async fn job_events(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        self.rest()?.job_events(tenant, job, after, limit).await
    }

    async fn event(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Event>, ReadError> {
        StandIn::event(self, tenant, seq).await
    }

    async fn job(&self, tenant: &TenantId, id: JobId) -> Result<Option<Job>, ReadError> {
        self.rest()?.job(tenant, id).await
    }

    async fn jobs(&self, tenant: &TenantId, query: &JobQuery) -> Result<JobPage, ReadError> {
        self.rest()?.jobs(tenant, query).await
    }

    async fn queues(&self, tenant: &TenantId) -> Result<Vec<QueueStats>, ReadError> {
        self.rest()?.queues(tenant).await
    }

    async fn schedule(&self, tenant: &TenantId, name: &ScheduleName) -> Result<Option<Schedule>, ReadError> {
        self.rest()?.schedule(tenant, name).await
    }

    async fn schedules(
        &self,
        tenant: &TenantId,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Vec<Schedule>, ReadError> {
        self.rest()?.schedules(tenant, after, limit).await
    }

    async fn next_fire_in(&self) -> Result<Option<Duration>, ReadError> {
        self.rest()?.next_fire_in().await
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, ReadError> {
        self.rest()?.tenant(id).await
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantRecord>, ReadError> {
        self.rest()?.tenants(after, limit).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, ReadError> {
        StandIn::key(self, id).await
    }

    async fn keys(
        &self,
        tenant: Option<&TenantId>,
        before: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, ReadError> {
        self.rest()?.keys(tenant, before, limit).await
    }

    async fn revocations(&self, after: u64) -> Result<Vec<Revocation>, ReadError> {
        self.rest()?.revocations(after).await
    }
}

/// Part of a [`Cluster`]; whoever has it is one. Everything else is out of reach.
#[async_trait]
pub trait ClusterStandIn: Send + Sync {
    async fn moves(&self, _: &mut Seen) -> Result<Moves, ClusterError> {
        out_of_reach()
    }

    async fn lead(&self, _: Duty) -> Result<Option<Term>, ClusterError> {
        out_of_reach()
    }

    async fn resign(&self, _: Duty) -> Result<(), ClusterError> {
        out_of_reach()
    }

    async fn places(&self, _: &[PlacesAsked]) -> Result<Vec<PlacesGiven>, ClusterError> {
        out_of_reach()
    }

    async fn secret(&self, _: &str) -> Result<Option<Vec<u8>>, ClusterError> {
        out_of_reach()
    }

    async fn offer_secret(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, ClusterError> {
        out_of_reach()
    }

    async fn replace_secret(&self, _: &str, _: &[u8], _: &[u8]) -> Result<bool, ClusterError> {
        out_of_reach()
    }
}

fn out_of_reach<T>() -> Result<T, ClusterError> {
    Err(ClusterError::Unavailable("the stand-in has nothing of the kind".into()))
}

#[async_trait]
impl<C: ClusterStandIn> Cluster for C {
    async fn beat(&self) -> Result<(), ClusterError> {
        out_of_reach()
    }

    async fn last_beat_elsewhere(&self) -> Result<Option<Beat>, ClusterError> {
        out_of_reach()
    }

    async fn moves(&self, seen: &mut Seen) -> Result<Moves, ClusterError> {
        ClusterStandIn::moves(self, seen).await
    }

    async fn lead(&self, duty: Duty) -> Result<Option<Term>, ClusterError> {
        ClusterStandIn::lead(self, duty).await
    }

    async fn resign(&self, duty: Duty) -> Result<(), ClusterError> {
        ClusterStandIn::resign(self, duty).await
    }

    async fn delivering(&self) -> Result<usize, ClusterError> {
        out_of_reach()
    }

    async fn places(&self, asked: &[PlacesAsked]) -> Result<Vec<PlacesGiven>, ClusterError> {
        ClusterStandIn::places(self, asked).await
    }

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, ClusterError> {
        ClusterStandIn::secret(self, name).await
    }

    async fn offer_secret(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, ClusterError> {
        ClusterStandIn::offer_secret(self, name, sealed).await
    }

    async fn replace_secret(&self, name: &str, from: &[u8], to: &[u8]) -> Result<bool, ClusterError> {
        ClusterStandIn::replace_secret(self, name, from, to).await
    }
}
