use axum::{extract::State, response::Response};
use tidings_store::{Journal, Operation};

use crate::{
    access::WorkAccess,
    body::OptionalJson,
    leases::{LeaseToken, ProgressDesk},
    path::Id,
    problem::Problem,
};

use super::{Nothing, own, report, shown};

/// Give a job back without spending an attempt.
#[utoipa::path(
    post, path = "/api/v1/leases/{id}/release", tag = "leases",
    params(("id" = String, Path, description = "The lease")),
    responses((status = 200, description = "Given back: the job", body = crate::openapi::Job)),
)]
pub(crate) async fn release(
    access: WorkAccess,
    Id(lease): Id<LeaseToken>,
    State(journal): State<Journal>,
    State(desk): State<ProgressDesk>,
    _: OptionalJson<Nothing>,
) -> Result<Response, Problem> {
    own(&access, &lease)?;
    // Progress of an attempt that does not count tells nobody anything, once it does not count.
    let pending = desk.lend(&lease);
    let operation = Operation::Release { job: lease.job, lease_no: lease.lease_no };
    let job = report(&journal, &lease, operation).await?;
    pending.settled();
    Ok(shown(&job))
}
