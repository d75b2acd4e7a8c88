use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_core::WorkerName;

use crate::{
    access::WorkAccess,
    body::{self, Json},
    leases::Claimer,
    problem::Problem,
};

/// Whose polls are to end.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StopRequest {
    /// As in the polls.
    #[schema(value_type = String, max_length = 255)]
    worker: WorkerName,
}

/// What has ended.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Stopped {
    /// Polls that are answered now, with what they have: most likely nothing.
    polls: usize,
}

/// End a worker's own polls: one that is to stop waits for their answers, and loses no lease.
#[utoipa::path(
    post, path = "/api/v1/leases/stop", tag = "leases",
    request_body = StopRequest,
    responses((status = 200, description = "How many polls at this server were ended", body = Stopped)),
)]
pub(crate) async fn stop(
    access: WorkAccess,
    State(claimer): State<Claimer>,
    Json(request): Json<StopRequest>,
) -> Result<Response, Problem> {
    let polls = claimer.end_polls(&request.worker, &access.tenants);
    Ok(body::json(StatusCode::OK, &Stopped { polls }))
}
