//! The server's parts, wired together.

mod capabilities;
mod commits;
mod error;
pub(crate) mod open;
mod start;

use std::{fmt, sync::Arc, time::Duration};

use tidings_auth::{AdminKey, Authenticator};
use tidings_delivery::{Delivery, Return};
use tidings_live::{Hub, LiveConfig};
use tidings_store::{Journal, Store};
use tidings_webhooks::dispatcher::Dispatcher;

use crate::{
    access::Gate,
    addresses::Addresses,
    config::Loaded,
    drain::Drain,
    duties::Duties,
    endpoints::Endpoints,
    health::Health,
    ids::Ids,
    leases::{Claimer, Desk, ProgressDesk},
    metrics::Metrics,
    places::Places,
    services::Services,
    settings::Settings,
    streams,
    tenants::TenantAdmin,
    webhooks,
};

pub use error::StartError;
pub(crate) use start::World;

/// A running Tidings: the log, the feeds, the connections and their housekeeping. A clone is the same
/// one. Listen for it with a [`Server`](crate::Server), or mount its [`router`](App::router).
#[derive(Clone)]
pub struct App(Arc<Parts>);

struct Parts {
    store: Arc<dyn Store>,
    journal: Journal,
    hub: Hub,
    delivery: Delivery,
    gate: Gate,
    endpoints: Endpoints,
    dispatcher: Dispatcher,
    admin: TenantAdmin,
    admin_key: AdminKey,
    desk: Desk,
    claimer: Claimer,
    progress: ProgressDesk,
    streams: streams::Desk,
    places: Places,
    addresses: Addresses,
    settings: Settings,
    metrics: Metrics,
    drain: Drain,
    health: Health,
    ids: Ids,
    services: Services,
    duties: Duties,
}

impl App {
    /// Where the administrator's key is, and whether this start made it.
    pub fn admin_key(&self) -> &AdminKey {
        &self.0.admin_key
    }

    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub fn drain(&self) -> &Drain {
        &self.0.drain
    }

    pub fn delivery(&self) -> &Delivery {
        &self.0.delivery
    }

    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    pub fn authenticator(&self) -> &Authenticator {
        &self.0.gate.authenticator
    }

    pub(crate) fn addresses(&self) -> &Addresses {
        &self.0.addresses
    }

    pub(crate) fn streams(&self) -> &streams::Desk {
        &self.0.streams
    }

    /// The metrics of now as OpenMetrics text.
    pub fn scrape(&self) -> String {
        let parts = &self.0;
        let live = parts.hub.stats();
        let gauges = &parts.metrics.live;
        let limits = parts.settings.get().limits.clone();
        gauges.utilization.set(limits.lag.0.map_or(0.0, |limit| live.largest_lag as f64 / limit as f64));
        gauges.connections_max.set(limits.connections as i64);
        parts.metrics.http.in_flight_max.set(limits.requests_in_flight as i64);
        parts.metrics.listener.takes(limits.listener_connections);
        gauges.feeds.set(live.feeds as i64);
        gauges.stale_feeds.set(live.stale_feeds as i64);
        parts.metrics.bus.set(&parts.hub.bus(), parts.hub.unconfirmed_for());
        gauges.ring_bytes.set(live.ring_bytes as i64);
        gauges.page_bytes.set(live.page_bytes as i64);
        parts.metrics.webhooks.set(&parts.dispatcher.stats());
        parts.metrics.log.queued.set(parts.journal.stats().queued as i64);
        parts.metrics.encode()
    }

    /// Takes over what a reload may change, for live connections too. Where the issuers' keys cannot be
    /// loaded, nothing changes.
    pub fn reload(&self, loaded: &Loaded) -> Result<(), StartError> {
        let config = &loaded.config;
        self.authenticator().reload(&config.auth.to_auth()?)?;
        self.0.endpoints.reload(config)?;
        self.0.dispatcher.configure(webhooks::settings(&config.webhooks));
        self.0.settings.reload(config);
        self.0.metrics.limits.set(self.0.settings.get().bounds());
        let LiveConfig { lag, slow_clients, .. } = config.to_live();
        self.0.hub.limit_lag(lag, slow_clients);
        self.0.delivery.configure(config.to_delivery());
        self.0.store.limit_jobs(config.jobs.limits());
        self.0.desk.limit(config.jobs.concurrency.keys().cloned().collect());
        Ok(())
    }

    /// Returns when a part has failed that the server cannot be without.
    pub async fn failed(&self) {
        tokio::select! {
            () = self.0.services.failed() => {}
            () = self.0.delivery.failed() => {}
        }
    }

    /// Stops in order: new streams and leases are refused, waiting ones are answered, every live
    /// connection is told to come back later, leases that reached nobody go back, and what was
    /// accepted is committed. `window` bounds the wait for clients, not for the disk; `drain.notice` is a part of it.
    pub async fn stop(&self, window: Duration) {
        self.stop_clients(window).await;
        self.stop_rest().await;
    }

    /// Sends live connections and waiting workers away. Takes `drain.notice` at least.
    pub(crate) async fn stop_clients(&self, window: Duration) {
        self.0.drain.begin();
        self.0.desk.ring_all();
        self.0.delivery.refuse();
        let notice = self.settings().get().drain.notice.0.min(window);
        let drained = Box::pin(async {
            // Streams that came back at once would be sent here again, by what does not know yet.
            let (to, ()) = tokio::join!(self.who_takes_its_clients(), tokio::time::sleep(notice));
            self.0.delivery.drain(window.saturating_sub(notice), to).await;
        });
        // Webhooks under way are finished meanwhile, and told to the store.
        tokio::join!(drained, self.0.dispatcher.stop(window));
    }

    /// Another server, where one on the same store was alive a moment ago. Also where nobody can be asked in time: if
    /// there is none, clients come back too early and try on.
    async fn who_takes_its_clients(&self) -> Return {
        const PATIENCE: Duration = Duration::from_millis(500);
        /// Servers say every second that they are alive.
        const FRESH: Duration = Duration::from_secs(3);
        let Some(cluster) = self.0.store.cluster() else { return Return::AfterRestart };
        match tokio::time::timeout(PATIENCE, cluster.last_beat_elsewhere()).await {
            Ok(Ok(beat)) if beat.is_none_or(|beat| beat.ago > FRESH) => Return::AfterRestart,
            _ => Return::Elsewhere,
        }
    }

    /// Ends everything behind the routes, when no request needs it any more.
    pub(crate) async fn stop_rest(&self) {
        let parts = &self.0;
        parts.claimer.settle().await;
        parts.progress.flush().await;
        parts.services.stop().await;
        parts.places.leave().await;
        parts.duties.resign().await;
        parts.journal.close().await;
        parts.store.close().await;
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("delivery", &self.0.delivery).finish_non_exhaustive()
    }
}
