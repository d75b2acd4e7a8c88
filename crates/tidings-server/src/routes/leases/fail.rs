use axum::{extract::State, response::Response};
use serde::Deserialize;
use tidings_core::{
    Category, Failure,
    job::{Backoff, FailOptions},
};
use tidings_store::{Journal, Operation};

use crate::{
    access::WorkAccess,
    body::{Json, invalid},
    config::Span,
    leases::{LeaseToken, ProgressDesk},
    path::Id,
    problem::Problem,
};

use super::{own, report, shown};

/// Why an attempt failed.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FailRequest)]
pub(crate) struct FailRequest {
    /// As it is: what goes out is scrubbed. `message` is another name for it.
    #[serde(alias = "message")]
    error: String,
    /// database, inference, validation, timeout, cancelled, dependency or internal; internal where absent.
    #[schema(value_type = Option<String>)]
    category: Option<Category>,
    /// Whether another attempt may help; true where absent.
    retry: Option<bool>,
    /// Instead of the backoff's delay; at most 30d. Not beside `"retry": false`.
    #[schema(value_type = Option<String>, example = "30s")]
    retry_in: Option<Span>,
}

/// Report an attempt failed. Repeating it under the same lease returns the first outcome.
#[utoipa::path(
    post, path = "/api/v1/leases/{id}/fail", tag = "leases",
    params(("id" = String, Path, description = "The lease")),
    request_body = FailRequest,
    responses((status = 200, description = "Failed, to be retried, or cancelled: the job", body = crate::openapi::Job)),
)]
pub(crate) async fn fail(
    access: WorkAccess,
    Id(lease): Id<LeaseToken>,
    State(journal): State<Journal>,
    State(desk): State<ProgressDesk>,
    Json(request): Json<FailRequest>,
) -> Result<Response, Problem> {
    own(&access, &lease)?;
    let options = request.into_options()?;
    let (job, lease_no, pending) = (lease.job, lease.lease_no, desk.lend(&lease));
    let operation = Operation::Fail { job, lease_no, options, pending: pending.progress() };
    let job = report(&journal, &lease, operation).await?;
    pending.settled();
    Ok(shown(&job))
}

impl FailRequest {
    fn into_options(self) -> Result<FailOptions, Problem> {
        let retry_in = self.retry_in.map(|span| span.0);
        if retry_in.is_some_and(|delay| delay > Backoff::MAX) {
            return Err(invalid("$.retry_in", "it is at most 30d"));
        }
        if retry_in.is_some() && self.retry == Some(false) {
            return Err(invalid("$.retry_in", "there is no next attempt where retry is false"));
        }
        let failure = Failure::new(self.category.unwrap_or(Category::Internal), &self.error);
        Ok(FailOptions { failure, retryable: self.retry.unwrap_or(true), retry_in })
    }
}
