//! What handlers may ask for: each takes the capabilities that it needs, not the whole.

use std::sync::Arc;

use axum::extract::FromRef;
use tidings_auth::Authenticator;
use tidings_delivery::Delivery;
use tidings_live::Hub;
use tidings_store::{Journal, Store};
use tidings_webhooks::dispatcher::Dispatcher;

use crate::{
    access::Gate,
    drain::Drain,
    endpoints::Endpoints,
    health::Health,
    ids::Ids,
    leases::{Claimer, ProgressDesk},
    metrics::Metrics,
    settings::Settings,
    streams,
    tenants::TenantAdmin,
    webhooks::Changes,
};

use super::App;

macro_rules! capabilities {
    ($($capability:ty = $($field:ident).+;)+) => {$(
        impl FromRef<App> for $capability {
            fn from_ref(app: &App) -> Self {
                app.0.$($field).+.clone()
            }
        }
    )+};
}

capabilities! {
    Arc<dyn Store> = store;
    Journal = journal;
    Hub = hub;
    Delivery = delivery;
    streams::Desk = streams;
    Gate = gate;
    Authenticator = gate.authenticator;
    Endpoints = endpoints;
    Dispatcher = dispatcher;
    TenantAdmin = admin;
    Claimer = claimer;
    ProgressDesk = progress;
    Settings = settings;
    Metrics = metrics;
    Drain = drain;
    Health = health;
    Ids = ids;
}

impl FromRef<App> for Changes {
    fn from_ref(app: &App) -> Self {
        Self::new(app.0.journal.clone(), app.0.dispatcher.clone())
    }
}
