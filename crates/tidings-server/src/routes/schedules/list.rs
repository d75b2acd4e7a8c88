use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::ScheduleName;
use tidings_store::Store;

use crate::{
    access::{Access, may},
    body,
    params::Params,
    problem::{Kind, Problem},
    refusal,
    routes::list_text,
};

use super::view::{SchedulePage, ScheduleView};

/// List schedules by name.
#[utoipa::path(
    get, path = "/api/v1/schedules", tag = "schedules", operation_id = "list_schedules",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "100 where absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "A page; `next` is absent on the last one", body = SchedulePage)),
)]
pub(crate) async fn list(
    access: Access<may::ReadJobs>,
    State(store): State<Arc<dyn Store>>,
    mut params: Params,
) -> Result<Response, Problem> {
    let limit = params.take_number("limit", 1..=1_000)?.unwrap_or(100) as usize;
    let after = after(&mut params)?;
    params.finish()?;
    let page =
        store.schedules(&access.tenant, after.as_ref(), limit).await.map_err(|e| refusal::of_read(&e))?;
    let next = page.last().filter(|_| page.len() == limit).map(|last| last.spec.name.as_str());
    let admitted = access.principal.job_access();
    let texts: Vec<_> = page
        .iter()
        .filter(|schedule| admitted.admits_spec(&schedule.spec.job))
        .map(|schedule| serde_json::to_vec(&ScheduleView::new(schedule)).expect("a schedule serialises"))
        .collect();
    Ok(body::raw(StatusCode::OK, list_text("schedules", texts.iter().map(Vec::as_slice), next)))
}

fn after(params: &mut Params) -> Result<Option<ScheduleName>, Problem> {
    let bad = |_| Problem::new(Kind::BadCursor, "The cursor is not `next` of another page of schedules.");
    params.take_text("cursor")?.map(|text| text.parse().map_err(bad)).transpose()
}
