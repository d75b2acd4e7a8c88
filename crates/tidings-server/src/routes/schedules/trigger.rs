use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::ScheduleName;
use tidings_store::{Journal, Operation, Outcome, Store};

use crate::{
    access::{Access, may},
    body,
    idempotency::IdempotencyKey,
    ids::Ids,
    path::Id,
    problem::Problem,
    quotas::Metered,
    routes::jobs::held,
};

use super::changeable;

/// Enqueue a schedule's job now, also while it is paused. Its times stay as they are.
#[utoipa::path(
    post, path = "/api/v1/schedules/{name}/trigger", tag = "schedules", operation_id = "trigger_schedule",
    params(
        ("name" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat within 24 h returns the first outcome"),
    ),
    responses(
        (status = 201, description = "The job", body = crate::openapi::Job),
        (status = 200, description = "With overlap `skip`, the earlier job, which is not finished; or the request is a repeat", body = crate::openapi::Job),
    ),
)]
pub(crate) async fn trigger(
    access: Access<may::EnqueueJobs>,
    Id(name): Id<ScheduleName>,
    State(store): State<Arc<dyn Store>>,
    State(journal): State<Journal>,
    State(ids): State<Ids>,
    key: IdempotencyKey,
) -> Result<Response, Problem> {
    let schedule = changeable(&*store, &access.principal, &access.tenant, &name).await?;
    access.spend(Metered::Enqueues, 1)?;
    // It has no body: what it asks for is in its path.
    let idempotency = key.under("POST /schedules/trigger", &access.principal, name.as_str().as_bytes());
    let jobs = vec![schedule.spec.job(ids.job())];
    match crate::routes::submit(&journal, access.command(Operation::Enqueue { jobs, idempotency })?).await? {
        Outcome::Enqueued(enqueued) => {
            let created = enqueued.iter().any(|job| job.created);
            let shown = held::shown(&*store, &access, &enqueued).await?;
            Ok(body::raw(if created { StatusCode::CREATED } else { StatusCode::OK }, shown.concat()))
        }
        other => unreachable!("enqueueing is answered by jobs, not by {other:?}"),
    }
}
