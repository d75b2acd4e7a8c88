//! `/health`: for load balancers and orchestrators; no credential.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;

use crate::{body, drain::Drain, health::Health};

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Status {
    /// ok, draining or unavailable
    status: &'static str,
}

/// Whether the process runs.
#[utoipa::path(
    get, path = "/health/live", tag = "health", security(()),
    responses((status = 200, description = "It runs", body = Status)),
)]
pub(crate) async fn live() -> Response {
    body::json(StatusCode::OK, &Status { status: "ok" })
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
    let (status, word) = if drain.has_begun() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if health.store_answers().await {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    };
    body::json(status, &Status { status: word })
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
