use std::sync::Arc;

use tidings_auth::{Authenticator, ServerKeys};
use tidings_core::{Clock, Entropy};
use tidings_delivery::{Delivery, DeliveryConfig, MessageLimit};
use tidings_live::{Hub, LiveConfig, SlowClients};
use tidings_store::{Journal, JournalConfig, SqliteConfig, SqliteStore, Store};

use crate::{
    access::Gate,
    config::{Config, SlowClientsSetting},
    drain::Drain,
    entropy::Pooled,
    health::Health,
    ids::Ids,
    leases::{Claimer, Desk, ProgressDesk},
    metrics::Metrics,
    rescue::{self, LeaseActivity},
    retention, revocation,
    services::Services,
    settings::Settings,
    streams::{self, InBand},
    tenants::{Directory, TenantAdmin},
};

use super::{App, Parts, StartError, commits::Commits};

/// What the parts share.
#[derive(Clone)]
struct World {
    clock: Arc<dyn Clock>,
    /// For secrets.
    entropy: Arc<dyn Entropy>,
    /// For ids and jitter.
    pooled: Arc<dyn Entropy>,
}

impl App {
    /// Opens the data folder and starts everything on the current tokio runtime.
    pub async fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StartError> {
        config.validate()?;
        let pooled = Arc::new(Pooled::new(entropy.clone()));
        let world = World { clock, entropy, pooled };
        let sqlite = open_store(&config, &world).await?;
        let store: Arc<dyn Store> = sqlite.clone();
        let metrics = Metrics::new();
        let hub = Hub::start(store.clone(), live_config(&config));
        let desk = Desk::new(config.jobs.concurrency.keys().cloned().collect());
        let sink = Commits { hub: hub.clone(), desk: desk.clone(), metrics: metrics.clone() };
        let journal = Journal::start(store.clone(), Arc::new(sink), JournalConfig::default());

        let keys = open_keys(&config, &world).await?;
        let authenticator = authenticator(&config, &keys, &store, &journal, &world).await?;
        let admin_key = keys.ensure_admin_key(&*store, &journal).await?;

        let delivery = start_delivery(&config, &hub, &authenticator, &metrics, &world)?;
        let (drain, settings, services) =
            (Drain::default(), Settings::new(config.clone()), Services::default());
        let activity = LeaseActivity::new(world.clock.clone());
        let claimer = Claimer::new(
            journal.clone(),
            desk.clone(),
            drain.clone(),
            world.clock.clone(),
            activity.clone(),
            config.jobs.lease.0,
        );
        let directory = Directory::new(store.clone());
        let app = Self(Arc::new(Parts {
            admin: TenantAdmin {
                store: store.clone(),
                journal: journal.clone(),
                directory: directory.clone(),
                hub: hub.clone(),
                desk: desk.clone(),
                authenticator: authenticator.clone(),
            },
            gate: Gate { authenticator, directory, settings: settings.clone(), metrics: metrics.clone() },
            progress: ProgressDesk::new(journal.clone(), config.jobs.progress_rate.0),
            streams: streams::Desk::new(
                delivery.clone(),
                settings.clone(),
                metrics.clone(),
                world.pooled.clone(),
            ),
            health: Health::new(store.clone()),
            ids: Ids::new(world.clock, world.pooled),
            sqlite,
            store,
            journal,
            hub,
            delivery,
            admin_key,
            desk,
            claimer,
            settings,
            metrics,
            drain,
            services,
        }));
        app.start_services(&config, activity);
        Ok(app)
    }

    fn start_services(&self, config: &Config, activity: LeaseActivity) {
        let Parts { services, journal, delivery, claimer, .. } = &*self.0;
        let authenticator = self.authenticator().clone();
        services.spawn("revocation", authenticator.clone().run(std::future::pending()));
        services.spawn("closing", revocation::run(authenticator, delivery.clone()));
        services.spawn("rescue", rescue::run(journal.clone(), activity, config.jobs.lease.0));
        services.spawn("retention", retention::run(journal.clone(), config.retention.clone()));
        services.spawn("due jobs", claimer.clone().ring_when_due());
    }
}

async fn open_store(config: &Config, world: &World) -> Result<Arc<SqliteStore>, StartError> {
    let mut sqlite = SqliteConfig::new(&config.server.data);
    sqlite.concurrency = config.jobs.concurrency.iter().map(|(k, v)| (k.clone(), *v)).collect();
    let World { clock, pooled, .. } = world.clone();
    Ok(Arc::new(blocking(move || SqliteStore::open(sqlite, clock, pooled)).await?))
}

async fn open_keys(config: &Config, world: &World) -> Result<ServerKeys, StartError> {
    let (World { clock, entropy, .. }, data) = (world.clone(), config.server.data.clone());
    Ok(blocking(move || ServerKeys::open_or_create(&data, entropy, clock)).await?)
}

fn start_delivery(
    config: &Config,
    hub: &Hub,
    authenticator: &Authenticator,
    metrics: &Metrics,
    world: &World,
) -> Result<Delivery, StartError> {
    let World { clock, pooled, .. } = world.clone();
    let (in_band, observer) = (Arc::new(InBand(authenticator.clone())), Arc::new(metrics.clone()));
    let delivery = Delivery::start(delivery_config(config), hub.clone(), in_band, observer, clock, pooled);
    delivery.map_err(StartError::Delivery)
}

async fn authenticator(
    config: &Config,
    keys: &ServerKeys,
    store: &Arc<dyn Store>,
    journal: &Journal,
    world: &World,
) -> Result<Authenticator, StartError> {
    let World { clock, entropy, .. } = world.clone();
    let auth = config.auth.to_auth()?;
    Ok(Authenticator::open(auth, keys.clone(), store.clone(), journal.clone(), clock, entropy).await?)
}

/// Runs what reads and writes files beside the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("opening files does not panic and is not cancelled")
}

fn live_config(config: &Config) -> LiveConfig {
    LiveConfig {
        lag: config.limits.lag.0,
        slow_clients: match config.live.slow_clients {
            SlowClientsSetting::Disconnect => SlowClients::Disconnect,
            SlowClientsSetting::CatchUp => SlowClients::CatchUp,
        },
        ..LiveConfig::default()
    }
}

fn delivery_config(config: &Config) -> DeliveryConfig {
    let limits = &config.limits;
    DeliveryConfig {
        heartbeat: config.live.heartbeat.0,
        ping_interval: limits.ping_interval.0.map(|span| span.0),
        pong_deadline: limits.pong_deadline.0,
        idle_timeout: limits.idle_timeout.0.map(|span| span.0),
        messages: limits
            .messages_per_connection
            .0
            .map(|rate| MessageLimit { rate: rate.0, burst: rate.0.count.saturating_mul(2) }),
        frame_bytes: limits.frame_bytes,
        stall: config.live.stall.0,
        ..DeliveryConfig::default()
    }
}
