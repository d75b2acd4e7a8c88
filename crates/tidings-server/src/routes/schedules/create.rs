use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_store::{Journal, Operation};

use crate::{
    access::{Access, may},
    body::{self, Json},
    ids::Ids,
    problem::Problem,
    settings::Settings,
};

use super::{request::ScheduleRequest, submit, view::ScheduleView};

/// Make a schedule: its job is enqueued at every time that its cron expression says.
#[utoipa::path(
    post, path = "/api/v1/schedules", tag = "schedules", operation_id = "create_schedule",
    request_body = ScheduleRequest,
    responses((status = 201, description = "The schedule", body = ScheduleView)),
)]
pub(crate) async fn create(
    access: Access<may::WriteJobs>,
    State(journal): State<Journal>,
    State(settings): State<Settings>,
    State(ids): State<Ids>,
    Json(request): Json<ScheduleRequest>,
) -> Result<Response, Problem> {
    let limits = settings.get().limits.clone();
    let spec = request.into_spec(None, &access.principal, &limits, ids.now())?;
    let operation = Operation::PutSchedule { id: ids.schedule(), spec: Box::new(spec), replaces: None };
    let schedule = submit(&journal, access.command(operation)?).await?;
    Ok(body::json(StatusCode::CREATED, &ScheduleView::with_upcoming(&schedule)))
}
