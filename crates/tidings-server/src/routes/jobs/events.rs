use std::sync::Arc;

use axum::{extract::State, response::Response};
use tidings_core::{Cursor, JobId, Seq};
use tidings_store::{PageLimit, Store};

use crate::{
    access::{Access, may},
    params::Params,
    path::Id,
    problem::Problem,
    refusal,
    routes::events::{PAGE_BYTES, place, replay_text},
};

use super::readable;

/// Read one job's history.
#[utoipa::path(
    get, path = "/api/v1/jobs/{id}/events", tag = "jobs",
    params(
        ("id" = String, Path, format = "uuid"),
        ("since" = Option<String>, Query, description = "A cursor; from the oldest kept where absent"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "1000 where absent"),
        ("verbosity" = Option<String>, Query, description = "minimal, detail or debug"),
    ),
    responses((status = 200, description = "A page of the job's events", body = crate::openapi::EventPage)),
)]
pub(crate) async fn events(
    access: Access<may::ReadJobs>,
    Id(id): Id<JobId>,
    State(store): State<Arc<dyn Store>>,
    mut params: Params,
) -> Result<Response, Problem> {
    let since = params.take_cursor("since")?;
    let limit = params.take_number("limit", 1..=1_000)?.unwrap_or(1_000) as usize;
    let verbosity = params.take_verbosity(&access.principal, access.development())?;
    params.finish()?;
    readable(&*store, &access.principal, &access.tenant, id).await?;
    let after = since.as_ref().map_or(Seq::ZERO, |cursor| cursor.seq);
    let limit = PageLimit { events: limit, bytes: PAGE_BYTES };
    let page = store.job_events(&access.tenant, id, after, limit).await.map_err(|e| refusal::of_read(&e))?;
    let page = page.ok_or_else(Problem::not_found)?;
    place(since.as_ref(), &page.log)?;
    let next = Cursor::new(page.log.epoch.clone(), page.scanned_to);
    Ok(replay_text(page.events.iter(), verbosity, &next, &page.log))
}
