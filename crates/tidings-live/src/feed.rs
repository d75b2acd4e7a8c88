//! One tenant's live tail.

mod early;
mod freshness;
mod handle;
mod listening;
mod opening;
mod order;
mod repair;
mod ring;

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tidings_core::{Epoch, Event, Seq, TenantId};
use tidings_store::LogState;
use tokio::sync::OnceCell;

use crate::{Slot, node::Node, watch::Watchers};

use freshness::Freshness;
pub use handle::FeedHandle;
use listening::Listening;
use order::Order;

/// Names a feed within this process. A tenant's next feed has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedId(pub u64);

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ended {
    /// The feed was closed: the tenant was suspended or deleted, or the server is stopping.
    Closed,
    /// The tenant's history has another epoch. Reconnecting says so with a [`Reset`](crate::Reset).
    Renewed,
    /// The store knows no such tenant any more.
    Gone,
    /// The store has not answered this subscription for long; later it may.
    Unavailable,
    /// The store has not confirmed the feed's head for long; later it may.
    Unconfirmed,
    /// What this subscription needs does not read back.
    Unreadable,
}

#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) id: FeedId,
    pub(crate) tenant: TenantId,
    pub(crate) node: Arc<Node>,
    pub(crate) watchers: Watchers,
    /// Whether the tenant exists; set once the head has been read.
    opened: OnceCell<bool>,
    epoch: OnceLock<Epoch>,
    /// The order's tail and the log's floor, readable without a lock.
    head: AtomicU64,
    oldest: AtomicU64,
    ended: OnceLock<Ended>,
    order: Mutex<Order>,
    freshness: Freshness,
    listening: Mutex<Option<Listening>>,
    handles: AtomicUsize,
    /// The janitor's ticks since it had a handle.
    idle_ticks: AtomicU32,
}

/// What became of a look into the ring.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RingRead {
    Covered,
    /// The ring begins after what is needed.
    Behind,
}

impl Feed {
    pub(crate) fn new(id: FeedId, tenant: TenantId, node: Arc<Node>) -> Arc<Self> {
        let order = Mutex::new(Order::new(&node.config));
        Arc::new(Self {
            id,
            tenant,
            node,
            watchers: Watchers::default(),
            opened: OnceCell::new(),
            epoch: OnceLock::new(),
            head: AtomicU64::new(0),
            oldest: AtomicU64::new(1),
            ended: OnceLock::new(),
            order,
            freshness: Freshness::default(),
            listening: Mutex::default(),
            handles: AtomicUsize::new(0),
            idle_ticks: AtomicU32::new(0),
        })
    }

    /// Only once it is open.
    pub(crate) fn epoch(&self) -> &Epoch {
        self.epoch.get().expect("a handle is given out only for an open feed")
    }

    pub(crate) fn head(&self) -> Seq {
        Seq::new(self.head.load(Ordering::Acquire))
    }

    pub(crate) fn oldest(&self) -> Seq {
        Seq::new(self.oldest.load(Ordering::Acquire))
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.ended.get().copied()
    }

    /// Takes committed events of this tenant, whatever their order, and of the history that is given
    /// where it is known; another one is a reason to look. Tells the watchers nothing yet: returns
    /// whether the tail has moved.
    pub(crate) fn accept(self: &Arc<Self>, events: &[Arc<Event>], epoch: Option<&Epoch>) -> bool {
        if self.ended().is_some() {
            return false;
        }
        let stamp = self.node.next_stamp();
        let mut gone = Vec::new();
        let (moved, repair) = {
            let mut order = self.order.lock();
            let before = order.tail();
            if order.is_open() && epoch.is_some_and(|epoch| epoch != self.epoch()) {
                order.doubt();
            } else {
                for event in events {
                    order.offer(event, epoch, |event| self.slot(event), stamp, &mut gone);
                }
            }
            self.head.store(order.tail().get(), Ordering::Release);
            (order.tail() > before, self.start_repair(&mut order))
        };
        if repair {
            self.spawn_repair();
        }
        moved
    }

    /// Learns that the log has come to `head`, in the history `epoch`.
    pub(crate) fn heard(self: &Arc<Self>, epoch: &Epoch, head: Seq) {
        let other = self.epoch.get().is_some_and(|ours| ours != epoch);
        if !other && head <= self.head() {
            return;
        }
        self.look(|order| if other { order.doubt() } else { order.heard(head) });
    }

    /// The log may have moved, nobody knows how far: it is read.
    pub(crate) fn suspect(self: &Arc<Self>) {
        self.look(Order::doubt);
    }

    fn look(self: &Arc<Self>, learn: impl FnOnce(&mut Order)) {
        if self.ended().is_some() {
            return;
        }
        let repair = {
            let mut order = self.order.lock();
            learn(&mut order);
            self.start_repair(&mut order)
        };
        if repair {
            self.spawn_repair();
        }
    }

    /// Whether the caller is to start a repair.
    fn start_repair(&self, order: &mut Order) -> bool {
        let start = order.start_repair();
        if start {
            self.falls_behind();
        }
        start
    }

    fn slot(&self, event: &Arc<Event>) -> Arc<Slot> {
        Arc::new(Slot::new(self.epoch().clone(), event.clone(), self.node.ring_gauge.clone()))
    }

    /// Learns from a read of the store how the log stands.
    pub(crate) fn note(self: &Arc<Self>, log: &LogState) {
        if log.epoch != *self.epoch() {
            self.end(Ended::Renewed);
            return;
        }
        self.raise_oldest(log.oldest);
        if log.head > self.head() {
            self.look(|order| order.heard(log.head));
        }
    }

    /// The floor never falls within one history.
    fn raise_oldest(&self, oldest: Seq) {
        self.oldest.fetch_max(oldest.get(), Ordering::AcqRel);
    }

    /// Nothing is appended any more, memory is given back, and every subscription is told.
    pub(crate) fn end(&self, why: Ended) {
        if self.ended.set(why).is_err() {
            return;
        }
        let gone = {
            let mut order = self.order.lock();
            order.clear()
        };
        drop(gone);
        self.stop_listening();
        self.node.pager.forget(self.id);
        self.watchers.notify(self.id);
    }

    /// Puts the ring's events after `cursor` into `out`, within bounds.
    pub(crate) fn read_ring(
        &self,
        cursor: Seq,
        events: usize,
        bytes: usize,
        out: &mut Vec<Arc<Slot>>,
    ) -> RingRead {
        let covered = self.order.lock().ring().read(cursor, events, bytes, out);
        if covered { RingRead::Covered } else { RingRead::Behind }
    }

    pub(crate) fn oldest_stamp(&self) -> Option<u64> {
        self.order.lock().ring().oldest_stamp()
    }

    /// Gives up its oldest events until `need` bytes are free, but none appended after `until`.
    /// Returns how many bytes that freed.
    pub(crate) fn evict(&self, need: usize, until: u64) -> usize {
        let mut gone = Vec::new();
        let mut freed = 0;
        {
            let mut order = self.order.lock();
            let ring = order.ring_mut();
            while freed < need && ring.oldest_stamp().is_some_and(|stamp| stamp <= until) {
                let slot = ring.pop().expect("a ring with a stamp has an event");
                freed += slot.held();
                gone.push(slot);
            }
        }
        freed
    }

    /// Gives up what waits behind a gap; it will be read.
    pub(crate) fn drop_early(&self) {
        let gone = self.order.lock().drop_early();
        drop(gone);
    }

    /// One tick of the janitor; returns how many it has had without a handle.
    pub(crate) fn tick(&self) -> u32 {
        if self.handles.load(Ordering::Acquire) > 0 {
            self.idle_ticks.store(0, Ordering::Relaxed);
            return 0;
        }
        self.idle_ticks.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn has_handles(&self) -> bool {
        self.handles.load(Ordering::Acquire) > 0
    }
}
