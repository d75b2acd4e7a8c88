//! Delivering webhooks: the dispatcher of this server, and which partitions it delivers to.

mod changes;
mod partitions;
mod secrets;

use std::sync::Arc;

use tidings_live::Hub;
use tidings_store::{Journal, Store};
use tidings_webhooks::{
    dispatcher::{Dispatcher, DispatcherConfig, DispatcherParts},
    sender::{Sender, SenderConfig},
};

use crate::{app::World, config, endpoints::Endpoints};

pub(crate) use changes::Changes;
pub(crate) use partitions::{Share, run};

/// Delivers nothing until it is [run].
pub(crate) fn dispatcher(
    (store, journal, hub): (&Arc<dyn Store>, &Journal, &Hub),
    endpoints: &Endpoints,
    config: &config::Webhooks,
    world: &World,
) -> Dispatcher {
    let parts = DispatcherParts {
        store: store.clone(),
        journal: journal.clone(),
        hub: hub.clone(),
        connector: endpoints.connector.clone(),
        sender: Sender::new(endpoints.connector.clone(), SenderConfig::default()),
        secrets: Arc::new(secrets::Sealed(endpoints.secrets.clone())),
        clock: world.clock.clone(),
        entropy: world.pooled.clone(),
    };
    Dispatcher::new(parts, settings(config))
}

/// What the configuration says of how deliveries are made.
pub(crate) fn settings(config: &config::Webhooks) -> DispatcherConfig {
    DispatcherConfig {
        timeout: config.timeout.0,
        connect_timeout: config.connect_timeout.0,
        first_byte_timeout: config.first_byte_timeout.0.map(|span| span.0),
        retries: config.retries,
        rate_per_tenant: config.rate_per_tenant.0.map(|rate| rate.0),
        disable_after: config.disable_after.0,
        probe_every: config.probe_every.0,
        ..DispatcherConfig::default()
    }
}
