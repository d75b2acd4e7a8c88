use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::JobId;
use tidings_store::{Journal, Operation, Outcome, Store};

use crate::{
    access::{Access, may},
    body::{self, Nothing, OptionalJson},
    path::Id,
    problem::Problem,
    routes::submit,
};

use super::{changeable, shows_raw};

/// Cancel a job: a waiting one at once; a running one's worker is asked to stop.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, description = "The job, cancelled or with `cancel_requested`", body = crate::openapi::Job)),
)]
pub(crate) async fn cancel(
    access: Access<may::WriteJobs>,
    Id(id): Id<JobId>,
    State(store): State<Arc<dyn Store>>,
    State(journal): State<Journal>,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Result<Response, Problem> {
    changeable(&*store, &access.principal, &access.tenant, id).await?;
    match submit(&journal, access.command(Operation::Cancel { job: id })?).await? {
        Outcome::Job(job) => Ok(body::json(StatusCode::OK, &job.to_json(shows_raw(&access.principal)))),
        other => unreachable!("cancelling is answered by the job, not by {other:?}"),
    }
}
