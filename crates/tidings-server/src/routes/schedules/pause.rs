use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::{ScheduleId, ScheduleName};
use tidings_store::{Journal, Operation, Store};

use crate::{
    access::{Access, may},
    body,
    path::Id,
    problem::Problem,
};

use super::{changeable, submit, view::ScheduleView};

/// Pause a schedule: nothing fires until it is resumed.
#[utoipa::path(
    post, path = "/api/v1/schedules/{name}/pause", tag = "schedules", operation_id = "pause_schedule",
    params(("name" = String, Path)),
    responses((status = 200, description = "Paused", body = ScheduleView)),
)]
pub(crate) async fn pause(
    access: Access<may::WriteJobs>,
    Id(name): Id<ScheduleName>,
    State(store): State<Arc<dyn Store>>,
    State(journal): State<Journal>,
) -> Result<Response, Problem> {
    change(access, &name, &*store, &journal, Operation::PauseSchedule).await
}

/// Let a paused schedule fire again, from its next time on. What fell into the pause is not caught up on.
#[utoipa::path(
    post, path = "/api/v1/schedules/{name}/resume", tag = "schedules", operation_id = "resume_schedule",
    params(("name" = String, Path)),
    responses((status = 200, description = "Resumed", body = ScheduleView)),
)]
pub(crate) async fn resume(
    access: Access<may::WriteJobs>,
    Id(name): Id<ScheduleName>,
    State(store): State<Arc<dyn Store>>,
    State(journal): State<Journal>,
) -> Result<Response, Problem> {
    change(access, &name, &*store, &journal, Operation::ResumeSchedule).await
}

async fn change(
    access: Access<may::WriteJobs>,
    name: &ScheduleName,
    store: &dyn Store,
    journal: &Journal,
    operation: impl FnOnce(ScheduleId) -> Operation,
) -> Result<Response, Problem> {
    let schedule = changeable(store, &access.principal, &access.tenant, name).await?;
    let schedule = submit(journal, access.command(operation(schedule.id))?).await?;
    Ok(body::json(StatusCode::OK, &ScheduleView::with_upcoming(&schedule)))
}
