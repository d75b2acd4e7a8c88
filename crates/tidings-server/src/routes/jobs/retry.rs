use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::JobId;
use tidings_store::{Journal, Operation, Outcome, Store};

use crate::{
    access::{Access, may},
    body::{self, Nothing, OptionalJson},
    idempotency::IdempotencyKey,
    ids::Ids,
    path::Id,
    problem::Problem,
    quotas::Metered,
    routes::submit,
};

use super::{changeable, held};

/// Run a finished job again, as a new job with `retry_of`.
#[utoipa::path(
    post, path = "/api/v1/jobs/{id}/retry", tag = "jobs",
    params(
        ("id" = String, Path, format = "uuid"),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat by the same user within 24 h returns the first outcome"),
    ),
    responses(
        (status = 201, description = "The new job", body = crate::openapi::Job),
        (status = 200, description = "A live job held the unique key, or the request is a repeat: that job", body = crate::openapi::Job),
    ),
)]
pub(crate) async fn retry(
    access: Access<may::EnqueueJobs>,
    Id(id): Id<JobId>,
    State(store): State<Arc<dyn Store>>,
    State(journal): State<Journal>,
    State(ids): State<Ids>,
    key: IdempotencyKey,
    OptionalJson(Nothing {}): OptionalJson<Nothing>,
) -> Result<Response, Problem> {
    changeable(&*store, &access.principal, &access.tenant, id).await?;
    access.spend(Metered::Enqueues, 1)?;
    // It has no body: what it asks for is in its path.
    let idempotency = key.under("POST /jobs/retry", &access.principal, id.as_bytes());
    let operation = Operation::Retry { job: id, id: ids.job(), idempotency };
    match submit(&journal, access.command(operation)?).await? {
        Outcome::Enqueued(enqueued) => {
            let new = enqueued.first().expect("a retry is answered by one job");
            let status = if new.created { StatusCode::CREATED } else { StatusCode::OK };
            let shown = held::shown(&*store, &access, &enqueued).await?;
            Ok(body::raw(status, shown.concat()))
        }
        other => unreachable!("a retry is answered by a new job, not by {other:?}"),
    }
}
