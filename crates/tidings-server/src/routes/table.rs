//! Every route there is.

use axum::{
    Router,
    routing::{MethodRouter, get, post},
};

use crate::{
    app::App,
    config::{Config, Role},
    openapi, streams,
};

use super::{events, health, jobs, keys, leases, queues, schedules, tenants, tickets, webhooks};

/// A path with its handlers.
type Route = (&'static str, MethodRouter<App>);

/// The routes of a server; those of `config` that are off are not there. A node without the role `api` says
/// how it is and nothing else.
pub(crate) fn routes(config: &Config) -> Vec<Route> {
    let mut routes = health();
    if config.server.has_role(Role::Api) {
        routes.extend(api());
    }
    if config.server.debug_echo {
        routes.push(("/api/v1/echo", get(streams::echo)));
    }
    routes
}

/// For load balancers and orchestrators.
pub(crate) fn health() -> Vec<Route> {
    vec![
        ("/health", get(health::summary)),
        ("/health/live", get(health::live)),
        ("/health/ready", get(health::ready)),
    ]
}

fn api() -> Vec<Route> {
    vec![
        ("/api/v1/jobs", post(jobs::enqueue).get(jobs::list)),
        ("/api/v1/jobs/{id}", get(jobs::show)),
        ("/api/v1/jobs/{id}/events", get(jobs::events)),
        ("/api/v1/jobs/{id}/cancel", post(jobs::cancel)),
        ("/api/v1/jobs/{id}/retry", post(jobs::retry)),
        ("/api/v1/leases", post(leases::claim)),
        ("/api/v1/leases/stop", post(leases::stop)),
        ("/api/v1/leases/{id}/heartbeat", post(leases::heartbeat)),
        ("/api/v1/leases/{id}/progress", post(leases::progress)),
        ("/api/v1/leases/{id}/complete", post(leases::complete)),
        ("/api/v1/leases/{id}/fail", post(leases::fail)),
        ("/api/v1/leases/{id}/release", post(leases::release)),
        ("/api/v1/queues", get(queues::queues)),
        ("/api/v1/schedules", post(schedules::create).get(schedules::list)),
        ("/api/v1/schedules/{name}", get(schedules::show).put(schedules::put).delete(schedules::delete)),
        ("/api/v1/schedules/{name}/pause", post(schedules::pause)),
        ("/api/v1/schedules/{name}/resume", post(schedules::resume)),
        ("/api/v1/schedules/{name}/trigger", post(schedules::trigger)),
        ("/api/v1/events", post(events::publish).get(events::read)),
        ("/api/v1/ws", get(streams::ws)),
        ("/api/v1/tickets", post(tickets::mint)),
        ("/api/v1/keys", post(keys::create).get(keys::list)),
        ("/api/v1/keys/{id}", get(keys::show).delete(keys::revoke)),
        ("/api/v1/tenants", post(tenants::create).get(tenants::list)),
        ("/api/v1/tenants/{id}", get(tenants::show).delete(tenants::delete)),
        ("/api/v1/tenants/{id}/suspend", post(tenants::suspend)),
        ("/api/v1/tenants/{id}/resume", post(tenants::resume)),
        ("/api/v1/tenants/{id}/renew-epoch", post(tenants::renew_epoch)),
        ("/api/v1/webhooks", post(webhooks::create).get(webhooks::list)),
        ("/api/v1/webhooks/pause", post(webhooks::pause_user)),
        ("/api/v1/webhooks/deliveries", get(webhooks::of_event)),
        ("/api/v1/webhooks/{id}", get(webhooks::show).patch(webhooks::update).delete(webhooks::delete)),
        ("/api/v1/webhooks/{id}/pause", post(webhooks::pause)),
        ("/api/v1/webhooks/{id}/enable", post(webhooks::enable)),
        ("/api/v1/webhooks/{id}/test", post(webhooks::test)),
        ("/api/v1/webhooks/{id}/rotate-secret", post(webhooks::rotate_secret)),
        ("/api/v1/webhooks/{id}/deliveries", get(webhooks::deliveries)),
        ("/api/v1/webhooks/{id}/replay", post(webhooks::replay)),
        ("/api/v1/openapi.json", get(openapi::serve)),
    ]
}

pub(crate) fn collected(routes: Vec<Route>) -> Router<App> {
    routes.into_iter().fold(Router::new(), |router, (path, handlers)| router.route(path, handlers))
}

pub(crate) fn router(config: &Config) -> Router<App> {
    collected(routes(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_the_api_says_how_it_is_and_nothing_else() {
        let mut config = Config::default();
        config.server.roles = vec![Role::Scheduler];
        let served: Vec<_> = routes(&config).into_iter().map(|(path, _)| path).collect();
        assert_eq!(served, ["/health", "/health/live", "/health/ready"]);
    }

    #[test]
    fn the_openapi_document_has_every_route_and_no_other() {
        let document: serde_json::Value = serde_json::from_slice(&openapi::document()).expect("JSON");
        assert!(
            document["openapi"].as_str().is_some_and(|v| v.starts_with("3.1")),
            "{}",
            document["openapi"]
        );
        let described = document["paths"].as_object().expect("paths");
        let mut described: Vec<_> = described.keys().map(String::as_str).collect();
        let mut served: Vec<_> = routes(&Config::default()).into_iter().map(|(path, _)| path).collect();
        described.sort_unstable();
        served.sort_unstable();
        assert_eq!(described, served);
    }
}
