//! What all feeds of one process share: the registry, the memory budget, the store.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use parking_lot::RwLock;
use tidings_core::TenantId;
use tidings_store::Store;
use tokio::{runtime::Handle, sync::Semaphore, time::Instant};

use crate::{
    Bus, Ended, FeedHandle, FeedId, LiveConfig, Pager, feed::Feed, gauge::Gauge, lag_limit::LagLimit,
    poller::MoveSink, view::Views,
};

pub(crate) struct Node {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) config: LiveConfig,
    pub(crate) runtime: Handle,
    pub(crate) pager: Pager,
    pub(crate) views: Arc<Views>,
    /// Turns at reading gaps.
    pub(crate) readers: Semaphore,
    /// Bytes of all rings' slots, frames counted, and of those that readers still hold.
    pub(crate) ring_gauge: Arc<Gauge>,
    pub(crate) lag_limit: LagLimit,
    /// The furthest that a live subscription was seen behind since it was last asked for.
    pub(crate) largest_lag: AtomicU64,
    feeds: RwLock<HashMap<TenantId, Arc<Feed>, RandomState>>,
    last_feed: AtomicU64,
    last_stamp: AtomicU64,
    evicting: AtomicBool,
    /// Who else hears what has moved.
    pub(crate) move_sink: OnceLock<Arc<dyn MoveSink>>,
    started: Instant,
    /// When the store last told what had moved.
    confirmed: AtomicU64,
}

impl Node {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        config: LiveConfig,
        bus: Arc<dyn Bus>,
        runtime: Handle,
    ) -> Arc<Self> {
        Arc::new(Self {
            pager: Pager::new(store.clone(), &config, runtime.clone()),
            readers: Semaphore::new(config.repair_readers.max(1)),
            lag_limit: LagLimit::new(config.lag, config.slow_clients),
            store,
            bus,
            config,
            runtime,
            views: Arc::default(),
            ring_gauge: Arc::default(),
            largest_lag: AtomicU64::new(0),
            feeds: RwLock::default(),
            last_feed: AtomicU64::new(0),
            last_stamp: AtomicU64::new(0),
            evicting: AtomicBool::new(false),
            move_sink: OnceLock::new(),
            started: Instant::now(),
            confirmed: AtomicU64::new(0),
        })
    }

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment for which the store last told what had moved: what it did not name had not.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Relaxed)
    }

    pub(crate) fn confirm(&self, moment: u64) {
        self.confirmed.fetch_max(moment, Ordering::Relaxed);
    }

    /// Whether other processes write to the store.
    pub(crate) fn is_shared(&self) -> bool {
        self.store.cluster().is_some()
    }

    /// How long a gap may fill itself.
    pub(crate) fn gap_delay(&self) -> Duration {
        let alone = self.is_shared() && !*self.bus.connected().borrow();
        if alone { Duration::ZERO } else { self.config.repair_delay }
    }

    pub(crate) fn next_stamp(&self) -> u64 {
        self.last_stamp.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn feed(&self, tenant: &TenantId) -> Option<Arc<Feed>> {
        self.feeds.read().get(tenant).cloned()
    }

    pub(crate) fn feeds(&self) -> Vec<Arc<Feed>> {
        self.feeds.read().values().cloned().collect()
    }

    /// The tenant's feed, made where there is none or it has ended.
    pub(crate) fn register(self: &Arc<Self>, tenant: &TenantId) -> FeedHandle {
        let usable = |feed: &&Arc<Feed>| feed.ended().is_none();
        if let Some(feed) = self.feeds.read().get(tenant).filter(usable) {
            return FeedHandle::new(feed.clone());
        }
        let mut feeds = self.feeds.write();
        if let Some(feed) = feeds.get(tenant).filter(usable) {
            return FeedHandle::new(feed.clone());
        }
        let id = FeedId(self.last_feed.fetch_add(1, Ordering::Relaxed) + 1);
        let handle = FeedHandle::new(Feed::new(id, tenant.clone(), self.clone()));
        let replaced = feeds.insert(tenant.clone(), handle.feed().clone());
        drop(feeds);
        drop(replaced);
        handle
    }

    /// Takes the tenant's feed out, if it is still `feed`.
    pub(crate) fn unregister(&self, feed: &Arc<Feed>) {
        let removed = {
            let mut feeds = self.feeds.write();
            let same = feeds.get(&feed.tenant).is_some_and(|f| Arc::ptr_eq(f, feed));
            if same { feeds.remove(&feed.tenant) } else { None }
        };
        drop(removed);
    }

    pub(crate) fn close(&self, tenant: &TenantId, why: Ended) {
        let feed = self.feeds.write().remove(tenant);
        if let Some(feed) = feed {
            feed.end(why);
        }
    }

    pub(crate) fn close_all(&self) {
        let feeds = std::mem::take(&mut *self.feeds.write());
        for feed in feeds.into_values() {
            feed.end(Ended::Closed);
        }
    }

    /// One round of the janitor: takes out feeds that have ended, or have had no handle for `ticks` rounds.
    pub(crate) fn sweep(&self, ticks: u32) {
        for feed in self.feeds() {
            if feed.ended().is_some() {
                self.unregister(&feed);
            } else if feed.tick() > ticks && self.take_idle(&feed) {
                feed.end(Ended::Closed);
            }
        }
    }

    /// Handles are first made under the registry's lock, so none can appear in here.
    fn take_idle(&self, feed: &Arc<Feed>) -> bool {
        let mut feeds = self.feeds.write();
        let idle = !feed.has_handles() && feeds.get(&feed.tenant).is_some_and(|f| Arc::ptr_eq(f, feed));
        let removed = if idle { feeds.remove(&feed.tenant) } else { None };
        drop(feeds);
        drop(removed);
        idle
    }

    /// Where the rings together hold more than the budget, gives up the node's oldest events. It frees
    /// a sixty-fourth more than it must, so that looking for the oldest is paid by many appends.
    pub(crate) fn keep_budget(&self) {
        let budget = self.config.budget_bytes;
        if self.ring_gauge.get() <= budget || self.evicting.swap(true, Ordering::Acquire) {
            return;
        }
        let mut need = self.ring_gauge.get().saturating_sub(budget - budget / 64);
        let feeds = self.feeds();
        let entry = |at: usize| feeds[at].oldest_stamp().map(|stamp| Reverse((stamp, at)));
        let mut oldest: BinaryHeap<_> = (0..feeds.len()).filter_map(entry).collect();
        while need > 0 {
            let Some(Reverse((_, at))) = oldest.pop() else { break };
            let until = oldest.peek().map_or(u64::MAX, |Reverse((stamp, _))| *stamp);
            need = need.saturating_sub(feeds[at].evict(need, until));
            oldest.extend(entry(at));
        }
        if need > 0 {
            for feed in &feeds {
                feed.drop_early();
            }
        }
        self.evicting.store(false, Ordering::Release);
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("config", &self.config).finish_non_exhaustive()
    }
}
