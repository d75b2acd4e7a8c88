use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::{Principal, Schedule, ScheduleId, ScheduleName};
use tidings_store::{Journal, Operation, Store};

use crate::{
    access::{Access, may},
    body::{self, Json},
    ids::Ids,
    path::Id,
    problem::{Kind, Problem},
    settings::Settings,
};

use super::{find, may_change, request::ScheduleRequest, submit, view::ScheduleView};

/// Make a schedule of this name, or replace what the one of this name does. One that is paused stays so.
#[utoipa::path(
    put, path = "/api/v1/schedules/{name}", tag = "schedules", operation_id = "put_schedule",
    params(("name" = String, Path)), request_body = ScheduleRequest,
    responses(
        (status = 201, description = "Made", body = ScheduleView),
        (status = 200, description = "Replaced", body = ScheduleView),
    ),
)]
pub(crate) async fn put(
    access: Access<may::WriteJobs>,
    Id(name): Id<String>,
    State(store): State<Arc<dyn Store>>,
    State(journal): State<Journal>,
    State(settings): State<Settings>,
    State(ids): State<Ids>,
    Json(request): Json<ScheduleRequest>,
) -> Result<Response, Problem> {
    let name: ScheduleName = name
        .parse()
        .map_err(|e| Problem::new(Kind::BadParameter, format!("The path does not read: {e}.")))?;
    let limits = settings.get().limits.clone();
    let spec = request.into_spec(Some(name.clone()), &access.principal, &limits, ids.now())?;
    let replaces = replaceable(&access.principal, find(&*store, &access.tenant, &name).await?)?;
    let operation = Operation::PutSchedule { id: ids.schedule(), spec: Box::new(spec), replaces };
    let schedule = submit(&journal, access.command(operation)?).await?;
    let status = if replaces.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok(body::json(status, &ScheduleView::with_upcoming(&schedule)))
}

/// The schedule that has the name now, where it may be replaced.
fn replaceable(principal: &Principal, there: Option<Schedule>) -> Result<Option<ScheduleId>, Problem> {
    match there {
        Some(schedule) if !may_change(principal, &schedule) => {
            Err(Problem::new(Kind::NameTaken, "A schedule of another owner or subject has this name."))
        }
        there => Ok(there.map(|schedule| schedule.id)),
    }
}
