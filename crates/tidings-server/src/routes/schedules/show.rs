use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::ScheduleName;
use tidings_store::Store;

use crate::{
    access::{Access, may},
    body,
    path::Id,
    problem::Problem,
};

use super::{find, view::ScheduleView};

/// Show a schedule, with its next times.
#[utoipa::path(
    get, path = "/api/v1/schedules/{name}", tag = "schedules", operation_id = "show_schedule",
    params(("name" = String, Path)),
    responses((status = 200, description = "The schedule", body = ScheduleView)),
)]
pub(crate) async fn show(
    access: Access<may::ReadJobs>,
    Id(name): Id<ScheduleName>,
    State(store): State<Arc<dyn Store>>,
) -> Result<Response, Problem> {
    let admitted = access.principal.job_access();
    let schedule = find(&*store, &access.tenant, &name).await?;
    let schedule = schedule.filter(|s| admitted.admits_spec(&s.spec.job)).ok_or_else(Problem::not_found)?;
    Ok(body::json(StatusCode::OK, &ScheduleView::with_upcoming(&schedule)))
}
