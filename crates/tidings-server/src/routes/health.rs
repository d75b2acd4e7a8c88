//! `/health`: for load balancers and orchestrators; no credential.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;

use crate::{
    body,
    drain::Drain,
    health::{Health, Standing},
};

#[derive(Serialize, utoipa::ToSchema)]
#[allow(clippy::struct_field_names, reason = "it is the field of the document")]
pub(crate) struct Status {
    /// ok, degraded (the bus is out of reach or refuses a command: slower, and complete), draining or unavailable
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<Standing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bus: Option<Standing>,
}

/// Whether the process runs.
#[utoipa::path(
    get, path = "/health/live", tag = "health", security(()),
    responses((status = 200, description = "It runs", body = Status)),
)]
pub(crate) async fn live() -> Response {
    body::json(StatusCode::OK, &Status { status: "ok", store: None, bus: None })
}

/// Whether it takes requests.
#[utoipa::path(
    get, path = "/health/ready", tag = "health", security(()),
    responses(
        (status = 200, description = "It takes requests", body = Status),
        (status = 503, description = "It is stopping, or its store cannot be read", body = Status),
    ),
)]
pub(crate) async fn ready(State(drain): State<Drain>, State(health): State<Health>) -> Response {
    let (store, bus) = (health.store().await, health.bus());
    let (code, status) = if drain.has_begun() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if store == Standing::Unavailable {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    } else if matches!(bus, Standing::Degraded | Standing::Unavailable) {
        (StatusCode::OK, "degraded")
    } else {
        (StatusCode::OK, "ok")
    };
    body::json(code, &Status { status, store: Some(store), bus: Some(bus) })
}

/// The same as `/health/ready`.
#[utoipa::path(
    get, path = "/health", tag = "health", security(()),
    responses(
        (status = 200, description = "It takes requests", body = Status),
        (status = 503, description = "It is stopping, or its store cannot be read", body = Status),
    ),
)]
pub(crate) async fn summary(drain: State<Drain>, health: State<Health>) -> Response {
    ready(drain, health).await
}
