use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;
use tidings_core::job::Progress;

use crate::{
    access::WorkAccess,
    body::{self, Json, invalid},
    leases::{LeaseToken, ProgressDesk, Reported},
    path::Id,
    problem::Problem,
    refusal,
};

use super::own;

/// How far a job is.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ProgressRequest)]
pub(crate) struct ProgressRequest {
    #[schema(minimum = 0, maximum = 100)]
    percent: u64,
    /// Cut to 1,024 bytes; shown from verbosity `detail` up.
    message: Option<String>,
}

/// Report progress.
#[utoipa::path(
    post, path = "/api/v1/leases/{id}/progress", tag = "leases",
    params(("id" = String, Path, description = "The lease")),
    request_body = ProgressRequest,
    responses(
        (status = 200, description = "Written"),
        (status = 202, description = "Too soon after the last one: written soon, unless a newer report replaces it"),
    ),
)]
pub(crate) async fn progress(
    access: WorkAccess,
    Id(lease): Id<LeaseToken>,
    State(desk): State<ProgressDesk>,
    Json(request): Json<ProgressRequest>,
) -> Result<Response, Problem> {
    own(&access, &lease)?;
    let status = match desk.report(&lease, request.into_progress()?).await.map_err(refusal::of_command)? {
        Reported::Written => StatusCode::OK,
        Reported::Coalesced => StatusCode::ACCEPTED,
    };
    Ok(body::raw(status, &b"{}"[..]))
}

impl ProgressRequest {
    fn into_progress(self) -> Result<Progress, Problem> {
        let percent = u8::try_from(self.percent).ok().filter(|p| *p <= 100);
        let percent = percent.ok_or_else(|| invalid("$.percent", "it is a whole number from 0 to 100"))?;
        let message = self.message.map(|mut message| {
            message.truncate(message.floor_char_boundary(Progress::MESSAGE_MAX));
            message
        });
        Ok(Progress { percent, message })
    }
}
