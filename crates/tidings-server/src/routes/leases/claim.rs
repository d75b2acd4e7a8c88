use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use tidings_core::{JobState, JobType, WorkerName};
use tidings_store::{Leased, Operation};

use crate::{
    access::{WorkAccess, may},
    body::{Json, invalid},
    ids::Ids,
    leases::{Claimer, Handover, LeaseToken, Undelivered, Wanted},
    problem::Problem,
    quotas::Metered,
    routes::{jobs::EnqueueRequest, list_text},
    settings::Settings,
};

/// Jobs to be leased: waiting ones of these types, or one of the worker's own.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LeaseRequest)]
pub(crate) struct LeaseRequest {
    /// How the worker calls itself.
    #[schema(value_type = String, max_length = 255)]
    worker: WorkerName,
    /// 1 to 100 job types.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    types: Vec<JobType>,
    /// 1 to 100; 1 where absent.
    #[schema(minimum = 1, maximum = 100)]
    max: Option<usize>,
    /// Seconds to wait where there is no job; 0 where absent.
    #[schema(maximum = 60)]
    wait_s: Option<u64>,
    /// Instead of `types`: a job to be enqueued and leased in the same commit, so that no other worker
    /// can have it. It has no `run_at`. Needs `jobs:write` too.
    job: Option<EnqueueRequest>,
}

const TYPES_MAX: usize = 100;

/// Lease jobs, waiting for some where there are none.
#[utoipa::path(
    post, path = "/api/v1/leases", tag = "leases",
    request_body = LeaseRequest,
    responses((status = 200, description = "The leases; empty where none came in time", body = crate::openapi::Leases)),
)]
pub(crate) async fn claim(
    access: WorkAccess,
    State(claimer): State<Claimer>,
    State(settings): State<Settings>,
    State(ids): State<Ids>,
    Json(request): Json<LeaseRequest>,
) -> Result<Response, Problem> {
    let LeaseRequest { worker, types, max, wait_s, job } = request;
    if let Some(job) = job {
        if !types.is_empty() || max.is_some() || wait_s.is_some() {
            return Err(invalid("$.job", "a job of the worker's own comes without types, max and wait_s"));
        }
        if job.names_a_time() {
            return Err(invalid(
                "$.job.run_at",
                "a job that is leased at once is not for later: leave it out",
            ));
        }
        let access = access.in_one_tenant::<may::EnqueueJobs>()?;
        access.spend(Metered::Enqueues, 1)?;
        let config = Arc::clone(&settings.get());
        let job = job.into_job("$.job", &access.principal, &config.limits, &ids)?;
        let operation = Operation::EnqueueLeased { job, worker, length: claimer.length() };
        return Ok(answer(claimer.claim_by(access.command(operation)?).await?));
    }
    let wanted = Wanted {
        tenants: access.tenants,
        worker,
        types: some_types(types)?,
        max: within("$.max", max.unwrap_or(1), 1, 100)?,
        wait: Duration::from_secs(within("$.wait_s", wait_s.unwrap_or(0), 0, 60)?),
    };
    Ok(answer(claimer.claim(&wanted).await?))
}

/// In one order and each once: claims that ask for the same share a look and take turns.
fn some_types(mut types: Vec<JobType>) -> Result<Vec<JobType>, Problem> {
    if (1..=TYPES_MAX).contains(&types.len()) {
        types.sort_unstable();
        types.dedup();
        return Ok(types);
    }
    Err(invalid("$.types", format_args!("1 to {TYPES_MAX} job types are needed")))
}

fn within<T: PartialOrd + std::fmt::Display + Copy>(
    path: &str,
    value: T,
    min: T,
    max: T,
) -> Result<T, Problem> {
    if value >= min && value <= max {
        return Ok(value);
    }
    Err(invalid(path, format_args!("it is a whole number from {min} to {max}")))
}

fn answer(taken: Undelivered) -> Response {
    let leases: Vec<_> = taken.leases().iter().map(lease_text).collect();
    let text = list_text("leases", leases.iter().map(Vec::as_slice), None);
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (StatusCode::OK, content_type, Body::new(Handover::new(text, taken))).into_response()
}

fn lease_text(Leased { job }: &Leased) -> Vec<u8> {
    let JobState::Running { lease, .. } = &job.state else {
        unreachable!("a leased job is running");
    };
    let (token, attempt, expires_at) = (LeaseToken::of(job), job.attempt, lease.expires_at);
    let head = format!(r#"{{"lease":"{token}","attempt":{attempt},"expires_at":"{expires_at}","job":"#);
    let mut text = head.into_bytes();
    text.extend_from_slice(job.to_json(false).as_bytes());
    text.push(b'}');
    text
}
