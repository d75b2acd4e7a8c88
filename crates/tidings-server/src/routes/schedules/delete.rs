use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use tidings_core::ScheduleName;
use tidings_store::{Journal, Operation, Store};

use crate::{
    access::{Access, may},
    path::Id,
    problem::Problem,
};

use super::changeable;

/// Delete a schedule. Jobs that it enqueued stay.
#[utoipa::path(
    delete, path = "/api/v1/schedules/{name}", tag = "schedules", operation_id = "delete_schedule",
    params(("name" = String, Path)),
    responses((status = 204, description = "Deleted")),
)]
pub(crate) async fn delete(
    access: Access<may::WriteJobs>,
    Id(name): Id<ScheduleName>,
    State(store): State<Arc<dyn Store>>,
    State(journal): State<Journal>,
) -> Result<StatusCode, Problem> {
    let schedule = changeable(&*store, &access.principal, &access.tenant, &name).await?;
    crate::routes::submit(&journal, access.command(Operation::DeleteSchedule(schedule.id))?).await?;
    Ok(StatusCode::NO_CONTENT)
}
