//! A log in memory that can be slow, stale, broken or gone.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_core::{Epoch, Event, Seq, TenantId};
use tidings_store::{
    Cluster, ClusterError, EventPage, LogState, Moves, PageLimit, ReadError, Seen,
    stand_in::{ClusterStandIn, StandIn},
};
use tokio::sync::Semaphore;

use crate::Slot;

#[derive(Debug)]
pub(crate) struct MemoryStore {
    logs: Mutex<HashMap<TenantId, Log>>,
    /// Reads of events that have begun.
    pub(crate) reads: AtomicUsize,
    failures: AtomicUsize,
    /// Each read of events waits for one of these before it looks, and for another one afterwards.
    gates: Option<(Semaphore, Semaphore)>,
    /// Several nodes share it.
    shared: bool,
    /// It tells nothing and reads nothing: out of reach.
    pub(crate) down: AtomicBool,
    /// What has moved is not known any more; told once.
    pub(crate) forgetful: AtomicBool,
    /// Looks at what has moved.
    pub(crate) polls: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Log {
    epoch: Epoch,
    events: Vec<Arc<Event>>,
    oldest: u64,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            logs: Mutex::default(),
            reads: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            gates: None,
            shared: false,
            down: AtomicBool::new(false),
            forgetful: AtomicBool::new(false),
            polls: AtomicUsize::new(0),
        }
    }
}

impl MemoryStore {
    /// Whose reads wait to be let in and let out.
    pub(crate) fn gated() -> Self {
        Self { gates: Some((Semaphore::new(0), Semaphore::new(0))), ..Self::default() }
    }

    /// That several nodes share.
    pub(crate) fn shared() -> Self {
        Self { shared: true, ..Self::default() }
    }

    fn reach(&self) -> Result<(), ReadError> {
        if self.down.load(Relaxed) { Err(ReadError::Unavailable("as scripted".into())) } else { Ok(()) }
    }

    pub(crate) fn create(&self, tenant: &TenantId, epoch: &str) {
        let log = Log { epoch: Epoch::parse(epoch).expect("valid"), events: Vec::new(), oldest: 1 };
        self.logs.lock().insert(tenant.clone(), log);
    }

    pub(crate) fn delete(&self, tenant: &TenantId) {
        self.logs.lock().remove(tenant);
    }

    /// Appends what `make` makes of the next seq.
    pub(crate) fn append(&self, tenant: &TenantId, make: impl FnOnce(u64) -> Event) -> Arc<Event> {
        let mut logs = self.logs.lock();
        let log = logs.get_mut(tenant).expect("the tenant was created");
        let mut event = make(log.events.len() as u64 + 1);
        event.tenant = tenant.clone();
        let event = Arc::new(event);
        log.events.push(event.clone());
        event
    }

    pub(crate) fn retain(&self, tenant: &TenantId, oldest: u64) {
        let mut logs = self.logs.lock();
        let log = logs.get_mut(tenant).expect("the tenant was created");
        log.oldest = log.oldest.max(oldest.min(log.events.len() as u64 + 1));
    }

    /// So many reads of events fail from now on.
    pub(crate) fn fail(&self, reads: usize) {
        self.failures.fetch_add(reads, Relaxed);
    }

    pub(crate) fn let_in(&self, reads: usize) {
        self.gates.as_ref().expect("gated").0.add_permits(reads);
    }

    pub(crate) fn let_out(&self, reads: usize) {
        self.gates.as_ref().expect("gated").1.add_permits(reads);
    }

    async fn pass(gate: &Semaphore) {
        gate.acquire().await.expect("never closed").forget();
    }

    fn state(log: &Log) -> LogState {
        LogState {
            epoch: log.epoch.clone(),
            head: Seq::new(log.events.len() as u64),
            oldest: Seq::new(log.oldest),
        }
    }

    fn page(log: &Log, after: Seq, limit: PageLimit) -> EventPage {
        let from = after.get().max(log.oldest - 1);
        let mut bytes = 0;
        let mut events = Vec::new();
        for event in log.events.iter().skip(from as usize).take(limit.events) {
            bytes += Slot::cost(event);
            if bytes > limit.bytes && !events.is_empty() {
                break;
            }
            events.push(Event::clone(event));
        }
        let scanned_to = events.last().map_or(after, |e| e.seq);
        EventPage { events, scanned_to, log: Self::state(log) }
    }
}

#[async_trait]
impl StandIn for MemoryStore {
    fn cluster(&self) -> Option<&dyn Cluster> {
        self.shared.then_some(self as _)
    }

    async fn log_state(&self, tenant: &TenantId) -> Result<Option<LogState>, ReadError> {
        self.reach()?;
        let state = self.logs.lock().get(tenant).map(Self::state);
        tokio::task::yield_now().await;
        Ok(state)
    }

    async fn events(
        &self,
        tenant: &TenantId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        self.reads.fetch_add(1, Relaxed);
        self.reach()?;
        if self.failures.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok() {
            return Err(ReadError::Unavailable("as scripted".into()));
        }
        if let Some((gate, _)) = &self.gates {
            Self::pass(gate).await;
        }
        let page = self.logs.lock().get(tenant).map(|log| Self::page(log, after, limit));
        match &self.gates {
            Some((_, gate)) => Self::pass(gate).await,
            None => tokio::task::yield_now().await,
        }
        Ok(page)
    }

    async fn event(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Event>, ReadError> {
        let logs = self.logs.lock();
        Ok(logs
            .get(tenant)
            .and_then(|log| log.events.get(seq.prev().get() as usize))
            .map(|e| Event::clone(e)))
    }
}

/// Every tenant counts as moved at every look: more than a store must tell, and never less.
#[async_trait]
impl ClusterStandIn for MemoryStore {
    async fn moves(&self, _: &mut Seen) -> Result<Moves, ClusterError> {
        self.polls.fetch_add(1, Relaxed);
        self.reach().map_err(|error| ClusterError::Unavailable(error.to_string()))?;
        let complete = !self.forgetful.swap(false, Relaxed);
        let head = |(tenant, log): (&TenantId, &Log)| {
            let LogState { epoch, head, .. } = Self::state(log);
            (tenant.clone(), epoch, head)
        };
        let heads = if complete { self.logs.lock().iter().map(head).collect() } else { Vec::new() };
        tokio::task::yield_now().await;
        Ok(Moves { heads, complete })
    }
}
