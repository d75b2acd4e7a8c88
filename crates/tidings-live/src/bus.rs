//! How the nodes of a cluster hear of each other's commits.
//!
//! A bus may lose, double and reorder, and nobody minds: every event is in the store before it is
//! published, feeds take only what is next, and the store is asked regularly what has moved. What a bus
//! brings is a shorter way, never the only one.

mod histories;
mod message;
mod redis;

use std::sync::Arc;

use async_trait::async_trait;
use tidings_core::{Epoch, Event, Seq, TenantId};
use tokio::sync::watch;

pub use self::redis::{PlacesError, RedisBus, RedisConfig, RedisConfigError};
pub use histories::Histories;

/// Carries what one node commits to the nodes that have feeds for it.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Where what other nodes commit goes. Once, before anything else.
    fn attach(&self, listener: Arc<dyn Listener>);

    /// Hands over what was committed here, and the histories that it went into. Never waits: what the
    /// bus cannot take is dropped and counted, and the other nodes find it in the store.
    fn publish(&self, events: &[Arc<Event>], epochs: &[(TenantId, Epoch)]);

    /// From now on the tenant's news are wanted. Each call is undone by one of [`leave`](Self::leave).
    fn join(&self, tenant: &TenantId);

    fn leave(&self, tenant: &TenantId);

    /// Returns once what others commit for a joined tenant is brought, or after a moment where the bus is
    /// slow or out of reach.
    async fn joined(&self, tenant: &TenantId);

    /// Whether it carries news now.
    fn connected(&self) -> watch::Receiver<bool>;

    fn state(&self) -> BusState;
}

/// Takes what a bus brings.
pub trait Listener: Send + Sync + 'static {
    /// May come from any thread, in any order, twice or never; it must not block.
    fn heard(&self, news: &News);
}

/// What another node says that it has committed for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub tenant: TenantId,
    pub epoch: Epoch,
    /// The log has come as far as this.
    pub head: Seq,
    /// In the order of their seqs, not necessarily neighbours; none where they were too large.
    pub events: Vec<Arc<Event>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusKind {
    /// There is none: the store alone tells.
    #[default]
    None,
    Redis,
    /// Redis Cluster, with sharded channels where its servers have them.
    RedisCluster,
}

impl BusKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Redis => "redis",
            Self::RedisCluster => "redis cluster",
        }
    }
}

/// How a bus stands, and what it has done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BusState {
    pub kind: BusKind,
    pub connected: bool,
    /// It is connected and refuses to count for all nodes: each counts live connections alone.
    pub counts_refused: bool,
    /// Tenants whose news are wanted.
    pub joined: usize,
    /// Events handed to the other nodes.
    pub published: u64,
    /// Events that other nodes handed over.
    pub received: u64,
    /// Events that the bus did not take in time.
    pub dropped: u64,
    /// Messages that did not read.
    pub malformed: u64,
    /// How often it was connected.
    pub connections: u64,
}

/// No bus: one node alone, or several that hear of each other through the store.
#[derive(Debug)]
pub struct Local(watch::Sender<bool>);

impl Local {
    pub fn shared() -> Arc<dyn Bus> {
        Arc::new(Self(watch::Sender::new(false)))
    }
}

#[async_trait]
impl Bus for Local {
    fn attach(&self, _: Arc<dyn Listener>) {}
    fn publish(&self, _: &[Arc<Event>], _: &[(TenantId, Epoch)]) {}
    fn join(&self, _: &TenantId) {}
    fn leave(&self, _: &TenantId) {}
    async fn joined(&self, _: &TenantId) {}

    fn connected(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }

    fn state(&self) -> BusState {
        BusState::default()
    }
}
