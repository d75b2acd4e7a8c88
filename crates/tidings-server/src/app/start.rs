use std::sync::Arc;

use tidings_auth::{Authenticator, ServerKeys};
use tidings_core::{Clock, Entropy};
use tidings_delivery::Delivery;
use tidings_guard::Resolve;
use tidings_live::{Bus, Hub, Local, RedisBus};
use tidings_store::{Duty, Journal, JournalConfig, Store};

use crate::{
    access::Gate,
    addresses::Addresses,
    config::{Config, Role},
    drain::Drain,
    duties::{self, Duties},
    endpoints::Endpoints,
    entropy::Pooled,
    health::Health,
    ids::Ids,
    leases::{Claimer, Desk, ProgressDesk},
    metrics::Metrics,
    outbox,
    places::{InRedis, InStore, Places, Together},
    rescue::{self, LeaseActivity},
    retention,
    revocation::Closer,
    schedules,
    services::Services,
    settings::Settings,
    streams::{self, InBand},
    tenants::{Directory, TenantAdmin},
    webhooks,
};

use super::{App, Parts, StartError, commits::Commits, open};

/// What the parts share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: Arc<dyn Clock>,
    /// For secrets.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// For ids and jitter.
    pub(crate) pooled: Arc<dyn Entropy>,
    /// Whom webhooks' hosts are asked of; `None`: the system's name servers.
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
}

impl World {
    pub(crate) fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let pooled = Arc::new(Pooled::new(entropy.clone()));
        Self { clock, entropy, pooled, resolver: None }
    }
}

impl App {
    /// Opens the store that is configured and starts everything on the current tokio runtime.
    pub async fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StartError> {
        Self::start_in(config, World::new(clock, entropy)).await
    }

    /// With name servers of a test's own.
    #[doc(hidden)]
    pub async fn start_resolving(
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, StartError> {
        let world = World { resolver: Some(resolver), ..World::new(clock, entropy) };
        Self::start_in(config, world).await
    }

    async fn start_in(mut config: Config, world: World) -> Result<Self, StartError> {
        config.read_files()?;
        config.validate()?;
        let store = open::store(&config, &world).await?;
        Self::start_on(store, config, world).await
    }

    async fn start_on(store: Arc<dyn Store>, config: Config, world: World) -> Result<Self, StartError> {
        let metrics = Metrics::of(&config);
        let keys = open::keys(&config, &*store, &world).await?;
        let redis = open::redis(&config, &keys, &world)?;
        let bus = redis.clone().map_or_else(Local::shared, |redis| redis as Arc<dyn Bus>);
        let hub = Hub::with_bus(store.clone(), config.to_live(), bus);
        let desk = Desk::new(config.jobs.concurrency.keys().cloned().collect());
        hub.tell_moves(Arc::new(desk.clone()));
        let sink = Commits { hub: hub.clone(), desk: desk.clone(), metrics: metrics.clone() };
        let journal = Journal::start(store.clone(), Arc::new(sink), JournalConfig::default());

        let authenticator = authenticator(&config, &keys, &store, &journal, &world).await?;
        let endpoints = Endpoints::new(&config, keys.webhook_secrets(), &world)?;
        let parts = (&store, &journal, &hub);
        let dispatcher = webhooks::dispatcher(parts, &endpoints, &config.webhooks, &world);
        let admin_key = keys.ensure_admin_key(&*store, &journal).await?;

        let delivery = start_delivery(&config, &hub, &authenticator, &metrics, &world)?;
        let (drain, settings) = (Drain::default(), Settings::new(config.clone()));
        let activity = LeaseActivity::new(world.clock.clone());
        let claimer = Claimer::new(
            journal.clone(),
            desk.clone(),
            drain.clone(),
            world.clock.clone(),
            activity.clone(),
            config.jobs.lease.0,
            store.cluster().map(|_| Claimer::LOOK_AGAIN),
        );
        let directory = Directory::new(store.clone(), settings.clone(), world.clock.clone());
        let places = Places::new(together(&store, redis), settings.clone(), metrics.clone());
        let app = Self(Arc::new(Parts {
            admin: TenantAdmin {
                store: store.clone(),
                journal: journal.clone(),
                directory: directory.clone(),
                hub: hub.clone(),
                desk: desk.clone(),
                authenticator: authenticator.clone(),
            },
            endpoints,
            dispatcher,
            gate: Gate::new(authenticator, directory, &settings, &metrics, world.clock.clone()),
            progress: ProgressDesk::new(journal.clone(), config.jobs.progress_rate.0),
            streams: streams::Desk::new(
                delivery.clone(),
                settings.clone(),
                metrics.clone(),
                world.pooled.clone(),
                places.clone(),
                drain.clone(),
            ),
            places,
            addresses: Addresses::new(settings.clone(), world.clock.clone()),
            health: Health::new(store.clone(), hub.clone()),
            ids: Ids::new(world.clock, world.pooled),
            duties: Duties::new(store.clone(), metrics.clone()),
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
            services: Services::default(),
        }));
        app.start_services(&config, activity);
        Ok(app)
    }

    fn start_services(&self, config: &Config, activity: LeaseActivity) {
        let Parts { services, delivery, claimer, hub, gate, store, journal, settings, places, .. } = &*self.0;
        let authenticator = gate.authenticator.clone();
        let closer =
            Closer::new(authenticator.clone(), delivery.clone(), gate.directory.clone(), hub.clone());
        services.spawn("closing", closer.run());
        services.spawn("revocation", authenticator.run(std::future::pending()));
        if store.cluster().is_some() {
            services.spawn("floors", retention::follow(hub.clone()));
        }
        services.spawn("due jobs", claimer.clone().ring_when_due());
        services.spawn("places", places.clone().run());
        services.spawn("beat", duties::beat(store.clone()));
        if config.server.has_role(Role::Webhooks) {
            let Parts { duties, dispatcher, .. } = &*self.0;
            services.spawn("webhooks", webhooks::run(store.clone(), duties.clone(), dispatcher.clone()));
        }
        if config.server.has_role(Role::Scheduler) {
            if store.cluster().is_some() {
                services.spawn("outbox", outbox::run(journal.clone(), settings.clone()));
            }
            self.start_duties(config, activity);
        }
    }

    /// What one node at a time does for all.
    fn start_duties(&self, config: &Config, activity: LeaseActivity) {
        let Parts { services, duties, store, journal, hub, settings, metrics, .. } = &*self.0;
        let (rescuing, lease) = (journal.clone(), config.jobs.lease.0);
        let rescue = move || rescue::run(rescuing.clone(), activity.clone(), lease);
        services.spawn("rescue", duties.clone().run(Duty::Rescue, rescue));
        let (removing, hub, settings) = (journal.clone(), hub.clone(), settings.clone());
        let counted = metrics.clone();
        let retention =
            move || retention::run(removing.clone(), hub.clone(), settings.clone(), counted.clone());
        services.spawn("retention", duties.clone().run(Duty::Retention, retention));
        let (looked_at, firing) = (store.clone(), journal.clone());
        let schedules = move || schedules::run(looked_at.clone(), firing.clone());
        services.spawn("schedules", duties.clone().run(Duty::Schedules, schedules));
    }
}

/// Where the nodes on one store count live connections: in Redis where there is one.
fn together(store: &Arc<dyn Store>, redis: Option<Arc<RedisBus>>) -> Option<Arc<dyn Together>> {
    store.cluster()?;
    Some(match redis {
        Some(redis) => Arc::new(InRedis(redis)),
        None => Arc::new(InStore(store.clone())),
    })
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
    let delivery = Delivery::start(config.to_delivery(), hub.clone(), in_band, observer, clock, pooled);
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
