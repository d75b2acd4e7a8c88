use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::JobId;
use tidings_store::Store;

use crate::{
    access::{Access, may},
    body,
    path::Id,
    problem::Problem,
};

use super::{readable, shows_raw};

/// Show a job.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, description = "The job", body = crate::openapi::Job)),
)]
pub(crate) async fn show(
    access: Access<may::ReadJobs>,
    Id(id): Id<JobId>,
    State(store): State<Arc<dyn Store>>,
) -> Result<Response, Problem> {
    let job = readable(&*store, &access.principal, &access.tenant, id).await?;
    Ok(body::json(StatusCode::OK, &job.to_json(shows_raw(&access.principal))))
}
