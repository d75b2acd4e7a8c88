use std::{
    fmt,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use smallvec::SmallVec;
use tidings_core::{Epoch, Event, TenantId};
use tidings_store::{CommitSink, ReadError, Store};
use tokio::runtime::Handle;

use crate::{
    Bus, BusState, Ended, FeedHandle, Histories, Listener, LiveConfig, Local, News, Pager, SlowClients,
    feed::Feed,
    node::Node,
    poller::{self, MoveSink},
};

/// The feeds of this process. Cheap to clone; when the last clone goes, every feed is closed.
#[derive(Clone)]
pub struct Hub(Arc<Owner>);

struct Owner {
    node: Arc<Node>,
    tasks: Vec<tokio::task::AbortHandle>,
}

/// How the feeds stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiveStats {
    pub feeds: usize,
    /// Those whose head the store has not confirmed for too long.
    pub stale_feeds: usize,
    /// Bytes of all rings, frames counted.
    pub ring_bytes: usize,
    /// Bytes of catch-up pages, frames counted.
    pub page_bytes: usize,
    /// Pages read from the store, and page requests that the cache answered, since the start.
    pub pages_read: u64,
    pub pages_shared: u64,
    /// The furthest that a live subscription was behind since this was last asked.
    pub largest_lag: u64,
}

/// How often an opened feed may turn out to have ended before it could be handed out.
const OPEN_TRIES: usize = 8;

impl Hub {
    /// Runs on the current tokio runtime, with no bus.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(store: Arc<dyn Store>, config: LiveConfig) -> Self {
        Self::with_bus(store, config, Local::shared())
    }

    /// The same for one of several nodes on one store, which hear of each other's commits over `bus`. The
    /// bus is this hub's alone from now on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn with_bus(store: Arc<dyn Store>, config: LiveConfig, bus: Arc<dyn Bus>) -> Self {
        let runtime = Handle::current();
        let linger = config.linger;
        let node = Node::new(store, config, bus, runtime.clone());
        node.bus.attach(Arc::new(Ears(Arc::downgrade(&node))));
        let mut tasks = vec![runtime.spawn(sweep(Arc::downgrade(&node), linger)).abort_handle()];
        if node.is_shared() {
            tasks.push(runtime.spawn(poller::run(Arc::downgrade(&node))).abort_handle());
            tasks.push(runtime.spawn(poller::judge(Arc::downgrade(&node))).abort_handle());
        }
        Self(Arc::new(Owner { node, tasks }))
    }

    /// The tenant's feed, opened where it is not: registered first, and only then is the head read.
    /// `None`: there is no such tenant.
    pub async fn open(&self, tenant: &TenantId) -> Result<Option<FeedHandle>, ReadError> {
        for _ in 0..OPEN_TRIES {
            let handle = self.0.node.register(tenant);
            if !handle.feed().open().await? {
                self.0.node.unregister(handle.feed());
                return Ok(None);
            }
            if handle.ended().is_none() {
                return Ok(Some(handle));
            }
        }
        Err(ReadError::Unavailable("the tenant's feed is being closed again and again".into()))
    }

    /// Ends the tenant's feed and every subscription of it. To be called after the tenant was
    /// suspended or deleted.
    pub fn close_feed(&self, tenant: &TenantId) {
        self.0.node.close(tenant, Ended::Closed);
    }

    /// The same after its epoch was renewed: whoever reconnects learns of it by a reset.
    pub fn renew_feed(&self, tenant: &TenantId) {
        self.0.node.close(tenant, Ended::Renewed);
    }

    /// The tenants whose feeds are open here.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.0.node.feeds().iter().map(|feed| feed.tenant.clone()).collect()
    }

    /// Reads how each open feed's log stands, one after the other: what is heard of no commit, such as a
    /// floor that retention has moved, is learned so. A feed whose log does not read now stays as it is.
    pub async fn look_again(&self) {
        for feed in self.0.node.feeds() {
            if let Err(error) = feed.read_log().await {
                tracing::debug!(tenant = %feed.tenant, %error, "how a log stands could not be read");
            }
        }
    }

    /// From now on `sink` hears too what a shared store says has moved. Once; a second one is not taken.
    pub fn tell_moves(&self, sink: Arc<dyn MoveSink>) {
        let _ = self.0.node.move_sink.set(sink);
    }

    /// How the connection to the other nodes stands.
    pub fn bus(&self) -> BusState {
        self.0.node.bus.state()
    }

    /// How long ago a shared store last told what had moved; `None` where this process alone writes.
    pub fn unconfirmed_for(&self) -> Option<Duration> {
        let node = &self.0.node;
        let age = || Duration::from_millis(node.now().saturating_sub(node.confirmed()));
        node.is_shared().then(age)
    }

    /// Puts another limit in place of [`LiveConfig::lag`] and [`LiveConfig::slow_clients`], for every
    /// subscription from now on.
    pub fn limit_lag(&self, lag: Option<u64>, slow_clients: SlowClients) {
        self.0.node.lag_limit.set(lag, slow_clients);
    }

    pub fn pager(&self) -> &Pager {
        &self.0.node.pager
    }

    /// Asking starts [`LiveStats::largest_lag`] anew.
    pub fn stats(&self) -> LiveStats {
        let node = &self.0.node;
        let pages = node.pager.stats();
        LiveStats {
            feeds: node.feeds().len(),
            ring_bytes: node.ring_gauge.get(),
            stale_feeds: node.feeds().iter().filter(|feed| feed.stale_for().is_some()).count(),
            page_bytes: pages.bytes,
            pages_read: pages.read,
            pages_shared: pages.shared,
            largest_lag: node.largest_lag.swap(0, Ordering::Relaxed),
        }
    }
}

/// What this node commits comes from its journal; the bus takes it to the others.
impl CommitSink for Hub {
    fn committed(&self, events: &[Arc<Event>], epochs: &[(TenantId, Epoch)]) {
        let node = &self.0.node;
        let mut moved: SmallVec<[Arc<Feed>; 4]> = SmallVec::new();
        let mut histories = Histories::new(epochs);
        for run in events.chunk_by(|a, b| a.tenant == b.tenant) {
            let Some(feed) = node.feed(&run[0].tenant) else { continue };
            if feed.accept(run, histories.of(&run[0].tenant))
                && !moved.last().is_some_and(|last| Arc::ptr_eq(last, &feed))
            {
                moved.push(feed);
            }
        }
        for feed in &moved {
            feed.watchers.notify(feed.id);
        }
        node.keep_budget();
        node.bus.publish(events, epochs);
    }
}

/// Takes what the bus brings.
struct Ears(Weak<Node>);

impl Listener for Ears {
    fn heard(&self, news: &News) {
        let Some(node) = self.0.upgrade() else { return };
        let Some(feed) = node.feed(&news.tenant) else { return };
        if feed.accept(&news.events, Some(&news.epoch)) {
            feed.watchers.notify(feed.id);
            node.keep_budget();
        }
        feed.heard(&news.epoch, news.head);
    }
}

/// Closes feeds that nobody holds, four rounds after the last handle went.
async fn sweep(node: Weak<Node>, linger: Duration) {
    const ROUNDS: u32 = 4;
    let mut rounds = tokio::time::interval((linger / ROUNDS).max(Duration::from_millis(1)));
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(node) = node.upgrade() else { return };
        node.sweep(ROUNDS);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::AbortHandle::abort);
        self.node.close_all();
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("node", &self.0.node).finish_non_exhaustive()
    }
}
