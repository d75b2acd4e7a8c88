//! From the log to receivers: every matching event to every endpoint, at least once.
//!
//! - A supervisor for each partition that this node leads, or one for all, keeps a table of endpoints, each with a task
//!   of its own (`courier`), which while the endpoint is active is a `runner`.
//! - A runner reads events after the endpoint's cursor through the tenant's feed (`reader`), begins attempts within
//!   concurrency, rates (`pace`) and the node's slots (`slots`), judges what came of them (`verdict`), and tells the store
//!   in one report for many results (`ledger`). The cursor that it reports is that before which every match was tried
//!   (`window`); what failed has become a row of the store by then and is tried again from there (`retries`).
//! - An ordered endpoint stays at an event until that is delivered or dead.
//! - Results that the store has not taken are kept and handed to it again; a process that dies with them sends the same
//!   messages again, under the same ids.

mod cloud_events;
mod config;
mod courier;
mod ledger;
mod pace;
mod probe;
mod reader;
mod resend;
mod retries;
mod route;
mod runner;
mod sample;
mod slots;
mod stats;
mod supervisor;
mod trace;
mod verdict;
mod window;

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tidings_core::{Clock, Endpoint, Entropy, TenantId, webhook::Partition};
use tidings_guard::Connector;
use tidings_live::{FeedHandle, Hub};
use tidings_store::{Journal, Store};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::DispatcherConfig;
pub use route::{OpenSecrets, Unsigned};
pub use stats::DispatcherStats;

use crate::sender::{Attempt, Sender};
use pace::Paces;
use route::Route;
use slots::Slots;
use stats::Stats;
use supervisor::Supervisor;

/// What a dispatcher works with.
pub struct DispatcherParts {
    pub store: Arc<dyn Store>,
    pub journal: Journal,
    pub hub: Hub,
    /// Judges endpoints' URLs; the sender's own.
    pub connector: Connector,
    pub sender: Sender,
    pub secrets: Arc<dyn OpenSecrets>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Why an endpoint was not sent a sample event.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum TestError {
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// For how long.
    #[error("the tenant has been sent as many as its rate gives")]
    TooMany(Duration),
}

/// Delivers. Cheap to clone; clones share slots, rates and counts.
#[derive(Clone)]
pub struct Dispatcher(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    journal: Journal,
    hub: Hub,
    connector: Connector,
    sender: Sender,
    secrets: Arc<dyn OpenSecrets>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    config: ArcSwap<DispatcherConfig>,
    slots: Arc<Slots>,
    paces: Paces,
    stats: Stats,
    /// Rings where an endpoint may have changed.
    look: Notify,
    stop: CancellationToken,
    running: TaskTracker,
}

impl Dispatcher {
    pub fn new(parts: DispatcherParts, config: DispatcherConfig) -> Self {
        let DispatcherParts { store, journal, hub, connector, sender, secrets, clock, entropy } = parts;
        Self(Arc::new(Shared {
            slots: Slots::new(config.in_flight_max),
            config: ArcSwap::from_pointee(config),
            store,
            journal,
            hub,
            connector,
            sender,
            secrets,
            clock,
            entropy,
            paces: Paces::default(),
            stats: Stats::default(),
            look: Notify::new(),
            stop: CancellationToken::new(),
            running: TaskTracker::new(),
        }))
    }

    /// Delivers to the endpoints of a partition, or of all, until dropped; then what is under way is left to be sent again.
    /// Returns only where a part of it has failed.
    pub async fn run(&self, partition: Option<Partition>) {
        Supervisor::new(Arc::clone(&self.0), partition).run().await;
    }

    /// Begins nothing new, and waits until what is under way is done and reported, for at most `window`. What is not done by
    /// then is sent again by whoever delivers next. [`run`](Self::run) goes on and does nothing.
    pub async fn stop(&self, window: Duration) {
        self.0.stop.cancel();
        self.0.running.close();
        if tokio::time::timeout(window, self.0.running.wait()).await.is_err() {
            tracing::warn!(
                "webhooks were still under way when the drain's window was over; they are sent again"
            );
        }
    }

    /// Looks now at which endpoints have changed; it looks every second by itself.
    pub fn look(&self) {
        self.0.look.notify_waiters();
    }

    /// Takes over another configuration, but for how many attempts may be under way.
    /// Endpoints' timeouts are those of when they began to be delivered to.
    pub fn configure(&self, config: DispatcherConfig) {
        self.0.config.store(Arc::new(config));
    }

    /// Sends one sample event, `webhook.test`, to an endpoint in whatever state. Neither is it in the log nor the attempt in the
    /// delivery log.
    /// It counts in the tenant's rate.
    pub async fn test(&self, endpoint: &Endpoint) -> Result<Attempt, TestError> {
        let (shared, config) = (&self.0, self.0.config.load_full());
        if let Some(rate) = config.rate_per_tenant {
            shared.paces.spend(&endpoint.tenant, rate, shared.clock.now()).map_err(TestError::TooMany)?;
        }
        let route = Route::new(endpoint, &shared.connector.policy(), &*shared.secrets, &config)?;
        let message = sample::message(endpoint, shared.clock.now(), &*shared.entropy);
        let attempt =
            route.attempt(&shared.sender, (&*shared.clock, &*shared.entropy), &config, &message).await;
        shared.stats.attempted(attempt.failure);
        Ok(attempt)
    }

    pub fn stats(&self) -> DispatcherStats {
        self.0.stats.read(self.0.clock.now(), self.0.slots.taken())
    }
}

impl Shared {
    /// `None`, and a word of it in the log, where nothing can be signed.
    fn route(&self, endpoint: &Endpoint, config: &DispatcherConfig) -> Option<Route> {
        match Route::new(endpoint, &self.connector.policy(), &*self.secrets, config) {
            Ok(route) => Some(route),
            Err(error) => {
                tracing::warn!(endpoint = %endpoint.id, %error, "nothing is sent to a webhook endpoint");
                None
            }
        }
    }

    /// `None` where it does not open: the store is out of reach, or the tenant gone.
    async fn open_feed(&self, tenant: &TenantId) -> Option<FeedHandle> {
        match self.hub.open(tenant).await {
            Ok(feed) => feed,
            Err(error) => {
                tracing::debug!(%tenant, %error, "a feed for webhooks did not open");
                None
            }
        }
    }
}

impl fmt::Debug for DispatcherParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DispatcherParts")
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher").field("stats", &self.stats()).finish()
    }
}
