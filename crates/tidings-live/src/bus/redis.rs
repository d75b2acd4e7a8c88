//! Redis (6 or later) and Valkey as the bus: one channel per tenant, sharded where the server is a cluster
//! that shards channels.
//!
//! One task owns the connection. When that breaks, it connects again within a second or so and joins every
//! channel anew; whoever uses the bus notices only that news come later, from the store.

mod address;
mod config;
mod interest;
mod link;
mod outgoing;
mod places;
mod session;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_core::{Entropy, Epoch, Event, TenantId};
use tokio::{sync::watch, task::AbortHandle};

use super::{
    Bus, BusKind, BusState, Listener,
    message::{self, NodeId},
};
pub use config::{RedisConfig, RedisConfigError};
use interest::Interest;
use link::Link;
use outgoing::Outgoing;
pub use places::PlacesError;

/// How long a feed that opens waits for its channel; later news come from the store.
const JOIN_MAX: Duration = Duration::from_millis(250);

/// The bus over Redis. It works on until it is dropped.
#[derive(Debug)]
pub struct RedisBus {
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// What the bus and its task have in common.
#[derive(Debug)]
struct Shared {
    config: RedisConfig,
    node: NodeId,
    listener: OnceLock<Ears>,
    interest: Interest,
    outgoing: Outgoing,
    connected: watch::Sender<bool>,
    /// The connection, while there is one.
    link: Mutex<Option<Link>>,
    /// What the server turned out to be.
    kind: AtomicU8,
    counts: Counts,
}

struct Ears(Arc<dyn Listener>);

#[derive(Debug, Default)]
struct Counts {
    published: AtomicU64,
    received: AtomicU64,
    malformed: AtomicU64,
    connections: AtomicU64,
    /// The last thing that Redis said of counting was no.
    refused: AtomicBool,
}

impl RedisBus {
    /// Starts on the current tokio runtime. It returns at once, also where Redis is out of reach: the bus
    /// goes on trying.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(config: RedisConfig, entropy: Arc<dyn Entropy>) -> Arc<Self> {
        let mut node = [0; 16];
        entropy.fill(&mut node);
        let shared = Arc::new(Shared {
            config,
            node,
            listener: OnceLock::new(),
            interest: Interest::default(),
            outgoing: Outgoing::default(),
            connected: watch::Sender::new(false),
            link: Mutex::new(None),
            kind: AtomicU8::new(BusKind::Redis as u8),
            counts: Counts::default(),
        });
        let task = tokio::spawn(session::run(shared.clone(), entropy)).abort_handle();
        Arc::new(Self { shared, task })
    }
}

#[async_trait]
impl Bus for RedisBus {
    fn attach(&self, listener: Arc<dyn Listener>) {
        // A second one would be a mistake; the first goes on.
        let _ = self.shared.listener.set(Ears(listener));
    }

    fn publish(&self, events: &[Arc<Event>], epochs: &[(TenantId, Epoch)]) {
        if !events.is_empty() && !epochs.is_empty() {
            self.shared.outgoing.push(events, epochs);
        }
    }

    fn join(&self, tenant: &TenantId) {
        self.shared.interest.join(tenant);
    }

    fn leave(&self, tenant: &TenantId) {
        self.shared.interest.leave(tenant);
    }

    async fn joined(&self, tenant: &TenantId) {
        let mut connected = self.shared.connected.subscribe();
        if !*connected.borrow_and_update() {
            return;
        }
        let Some(joined) = self.shared.interest.joined(tenant) else { return };
        tokio::select! {
            _ = joined => {}
            _ = connected.changed() => {}
            () = tokio::time::sleep(JOIN_MAX) => {}
        }
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.shared.connected.subscribe()
    }

    fn state(&self) -> BusState {
        let Shared { counts, interest, outgoing, connected, kind, .. } = &*self.shared;
        let cluster = kind.load(Relaxed) == BusKind::RedisCluster as u8;
        BusState {
            kind: if cluster { BusKind::RedisCluster } else { BusKind::Redis },
            connected: *connected.borrow(),
            counts_refused: counts.refused.load(Relaxed),
            joined: interest.len(),
            published: counts.published.load(Relaxed),
            received: counts.received.load(Relaxed),
            dropped: outgoing.dropped(),
            malformed: counts.malformed.load(Relaxed),
            connections: counts.connections.load(Relaxed),
        }
    }
}

impl Shared {
    fn channel(&self, tenant: &TenantId) -> String {
        // The braces make the tenant alone decide which shard of a cluster has the channel.
        format!("tidings:{}:{{{tenant}}}", self.config.cluster)
    }

    /// No tenant's channel and no tenant's key: what a new connection finds out on what its user may do.
    fn check(&self) -> String {
        format!("tidings:{}:check", self.config.cluster)
    }

    /// Notes what Redis says of counting; tells once when that is no.
    fn note_counts(&self, refused: Option<&redis::RedisError>) {
        let before = self.counts.refused.swap(refused.is_some(), Relaxed);
        if let Some(error) = refused.filter(|_| !before) {
            tracing::warn!(%error, "Redis refuses EVAL on tidings:…: live connections are counted by each node alone");
        }
    }

    /// Takes a message of a channel: from another node, from this one, or from whoever may write there.
    fn receive(&self, channel: &[u8], payload: &[u8]) {
        if channel == self.check().as_bytes() {
            return;
        }
        match message::read(payload) {
            Ok(Some((node, _))) if node == self.node => {}
            Ok(Some((_, news))) if channel == self.channel(&news.tenant).as_bytes() => {
                self.counts.received.fetch_add(news.events.len() as u64, Relaxed);
                if let Some(listener) = self.listener.get() {
                    listener.0.heard(&news);
                }
            }
            // A later release's: it knows that this one asks the store.
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => {
                self.counts.malformed.fetch_add(1, Relaxed);
            }
        }
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for Ears {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ears").finish_non_exhaustive()
    }
}
