use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicU64,
        Ordering::{self, Relaxed},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_core::{Epoch, Event, Seq, TenantId};
use tidings_store::{
    Cluster, ClusterError, EventPage, LogState, Moves, PageLimit, ReadError, Seen,
    stand_in::{ClusterStandIn, StandIn},
};
use tokio::sync::{Notify, Semaphore};

/// One tenant's log. Reads events and nothing else.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    log: Mutex<Vec<Arc<Event>>>,
    oldest: AtomicU64,
    /// Reads of events need a permit, of which there are plenty until somebody holds them.
    gate: Semaphore,
    /// A read waits at the gate.
    waiting: Notify,
    /// Other servers use it too, or could.
    pub(crate) shared: AtomicBool,
    /// It is out of reach.
    pub(crate) down: AtomicBool,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self {
            log: Mutex::default(),
            oldest: AtomicU64::new(1),
            gate: Semaphore::new(Self::PERMITS),
            waiting: Notify::new(),
            shared: AtomicBool::new(false),
            down: AtomicBool::new(false),
        }
    }
}

impl MemoryStore {
    const PERMITS: usize = 1_000;

    pub(crate) fn append(&self, events: &[Arc<Event>]) {
        self.log.lock().extend_from_slice(events);
    }

    pub(crate) fn head(&self) -> u64 {
        self.log.lock().len() as u64
    }

    fn reach(&self) -> Result<(), ReadError> {
        if self.down.load(Relaxed) { Err(ReadError::Unavailable("it is down".into())) } else { Ok(()) }
    }

    /// What is older is gone.
    pub(crate) fn retain(&self, oldest: u64) {
        self.oldest.store(oldest, Ordering::SeqCst);
    }

    /// Reads of events wait from now on.
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(Self::PERMITS);
    }

    /// Until a read waits.
    pub(crate) async fn is_read(&self) {
        self.waiting.notified().await;
    }

    pub(crate) fn let_go(&self) {
        self.gate.add_permits(Self::PERMITS);
    }

    fn state(&self) -> LogState {
        let epoch = Epoch::parse("abcd2345").expect("valid");
        let oldest = Seq::new(self.oldest.load(Ordering::SeqCst));
        LogState { epoch, head: Seq::new(self.head()), oldest }
    }
}

#[async_trait]
impl StandIn for MemoryStore {
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
        if self.gate.available_permits() == 0 {
            self.waiting.notify_one();
        }
        let _permit = self.gate.acquire().await.expect("never closed");
        let log = self.state();
        let after = after.max(log.oldest.prev());
        let events = self.log.lock();
        let found = events.iter().skip(after.get() as usize).take(limit.events).map(|e| Event::clone(e));
        let events: Vec<_> = found.collect();
        let scanned_to = events.last().map_or(after, |e| e.seq);
        Ok(Some(EventPage { events, scanned_to, log }))
    }
}

#[async_trait]
impl ClusterStandIn for MemoryStore {
    async fn moves(&self, _: &mut Seen) -> Result<Moves, ClusterError> {
        self.reach().map_err(|error| ClusterError::Unavailable(error.to_string()))?;
        let LogState { epoch, head, .. } = self.state();
        Ok(Moves { heads: vec![(super::tenant(), epoch, head)], complete: true })
    }
}
