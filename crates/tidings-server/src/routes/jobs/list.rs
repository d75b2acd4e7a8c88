use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::{Job, JobId, Principal, RawJson, Scope, TenantId, UserId};
use tidings_store::{JobQuery, Store};

use crate::{
    access::{Access, forbidden, may},
    body,
    params::Params,
    problem::{Kind, Problem},
    refusal,
    routes::list_text,
};

use super::shows_raw;

/// Pages of the store that one request goes through to find what the credential's subjects let pass.
const SCANS_MAX: usize = 20;

/// List jobs, newest first.
#[utoipa::path(
    get, path = "/api/v1/jobs", tag = "jobs",
    params(
        ("state" = Option<String>, Query, description = "scheduled, queued, running, completed, failed or cancelled"),
        ("type" = Option<String>, Query),
        ("owner" = Option<String>, Query, description = "A user, or `me`"),
        ("subject" = Option<String>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "100 where absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "A page; `next` is absent on the last one", body = crate::openapi::JobPage)),
)]
pub(crate) async fn list(
    access: Access<may::ReadJobs>,
    State(store): State<Arc<dyn Store>>,
    mut params: Params,
) -> Result<Response, Problem> {
    let query = JobQuery {
        state: params.take("state")?,
        job_type: params.take("type")?,
        owner: owner(params.take_text("owner")?.as_deref(), &access.principal)?,
        subject: params.take("subject")?,
        before: cursor(&mut params)?,
        limit: params.take_number("limit", 1..=1_000)?.unwrap_or(100) as usize,
    };
    params.finish()?;
    let (jobs, next) = page(&*store, &access.principal, &access.tenant, query).await?;
    let raw = shows_raw(&access.principal);
    let texts: Vec<_> = jobs.iter().map(|job| job.to_json(raw)).collect();
    let next = next.map(|id| id.to_string());
    Ok(body::raw(StatusCode::OK, list_text("jobs", texts.iter().map(RawJson::as_bytes), next.as_deref())))
}

/// `me`, a user, or whom the credential is limited to.
fn owner(named: Option<&str>, principal: &Principal) -> Result<Option<UserId>, Problem> {
    let bad = |detail: &'static str| Problem::new(Kind::BadParameter, detail);
    let named = match named {
        Some("me") => Some(
            principal
                .user()
                .cloned()
                .ok_or_else(|| bad("owner=me needs a credential that stands for a user."))?,
        ),
        Some(text) => Some(text.parse().map_err(|_| bad("The parameter owner is not a user."))?),
        None => None,
    };
    if principal.has(Scope::JobsReadAll) {
        return Ok(named);
    }
    match (named, principal.user()) {
        (Some(named), Some(own)) if named != *own => {
            Err(forbidden("Your credential stands for a user and may name only that user as owner."))
        }
        (_, own) => Ok(own.cloned()),
    }
}

fn cursor(params: &mut Params) -> Result<Option<JobId>, Problem> {
    let text = params.take_text("cursor")?;
    let bad = || Problem::new(Kind::BadCursor, "The cursor is not `next` of another page of jobs.");
    text.map(|text| text.parse().map_err(|_| bad())).transpose()
}

/// Goes on until the page is full, the jobs end, or it has looked long enough.
async fn page(
    store: &dyn Store,
    principal: &Principal,
    tenant: &TenantId,
    mut query: JobQuery,
) -> Result<(Vec<Job>, Option<JobId>), Problem> {
    let (wanted, admitted) = (query.limit, principal.job_access());
    let mut found = Vec::new();
    for _ in 0..SCANS_MAX {
        let page = store.jobs(tenant, &query).await.map_err(|e| refusal::of_read(&e))?;
        found.extend(page.jobs.into_iter().filter(|job| admitted.admits(job)));
        query.before = page.next;
        if page.next.is_none() || found.len() >= wanted {
            break;
        }
        query.limit = wanted - found.len();
    }
    Ok((found, query.before))
}
