use axum::{extract::State, response::Response};
use serde::Deserialize;
use tidings_core::RawJson;
use tidings_store::{Journal, Operation};

use crate::{
    access::WorkAccess,
    body::{OptionalJson, within_limits},
    leases::{LeaseToken, ProgressDesk},
    path::Id,
    problem::Problem,
    settings::Settings,
};

use super::{own, report, shown};

/// What a job has come to.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CompleteRequest)]
pub(crate) struct CompleteRequest {
    /// Any JSON.
    #[schema(value_type = Option<serde_json::Value>)]
    result: Option<RawJson>,
}

/// Complete a job. Repeating it under the same lease returns the first outcome.
#[utoipa::path(
    post, path = "/api/v1/leases/{id}/complete", tag = "leases",
    params(("id" = String, Path, description = "The lease")),
    request_body = CompleteRequest,
    responses((status = 200, description = "Completed: the job", body = crate::openapi::Job)),
)]
pub(crate) async fn complete(
    access: WorkAccess,
    Id(lease): Id<LeaseToken>,
    State(journal): State<Journal>,
    State(desk): State<ProgressDesk>,
    State(settings): State<Settings>,
    OptionalJson(request): OptionalJson<CompleteRequest>,
) -> Result<Response, Problem> {
    own(&access, &lease)?;
    if let Some(result) = &request.result {
        within_limits(result, "$", "result", &settings.get().limits)?;
    }
    let (job, lease_no, pending) = (lease.job, lease.lease_no, desk.lend(&lease));
    let operation =
        Operation::Complete { job, lease_no, result: request.result, pending: pending.progress() };
    let job = report(&journal, &lease, operation).await?;
    pending.settled();
    Ok(shown(&job))
}
