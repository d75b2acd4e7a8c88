use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;
use tidings_core::{
    JobType, NewJob, Principal, RawJson, Subject, Timestamp, UniqueKey, UserId,
    job::{Backoff, JobSpec},
};
use tidings_store::{Journal, Operation, Outcome, Store};

use crate::{
    access::{self, Access, may},
    body::{self, JsonText, OneOrMany, invalid},
    config::{Limits, Span},
    idempotency::IdempotencyKey,
    ids::Ids,
    object::Object,
    problem::Problem,
    quotas::Metered,
    settings::Settings,
};

use super::held;
use crate::routes::{batch, submit};

/// A job to be enqueued.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EnqueueRequest)]
pub(crate) struct EnqueueRequest {
    /// `[a-z0-9][a-z0-9._-]{0,62}`
    #[schema(value_type = String, example = "embedding")]
    r#type: JobType,
    /// Any JSON; null where absent.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<RawJson>,
    /// Not before then; at once where absent or past.
    #[schema(value_type = Option<String>, format = DateTime)]
    run_at: Option<Timestamp>,
    /// −1000 to 1000; higher is leased first.
    #[schema(minimum = -1000, maximum = 1000)]
    priority: Option<i64>,
    /// Held until the job is finished: meanwhile enqueueing it again returns this job.
    #[schema(value_type = Option<String>, max_length = 255)]
    unique_key: Option<UniqueKey>,
    /// 1 to 100; 5 where absent.
    #[schema(minimum = 1, maximum = 100)]
    max_attempts: Option<u64>,
    #[schema(value_type = Option<BackoffRequest>)]
    backoff: Option<Object<BackoffRequest>>,
    /// Whoever enqueues, where absent.
    #[schema(value_type = Option<String>, max_length = 255)]
    owner: Option<UserId>,
    #[schema(value_type = Option<String>, max_length = 255)]
    subject: Option<Subject>,
}

/// The job of a schedule: as one that is enqueued, but its fire time is its time, and `overlap` decides
/// over its unique key.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScheduledJobRequest)]
pub(crate) struct ScheduledJobRequest {
    /// `[a-z0-9][a-z0-9._-]{0,62}`
    #[schema(value_type = String, example = "report")]
    r#type: JobType,
    /// Any JSON; null where absent.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<RawJson>,
    /// −1000 to 1000; higher is leased first.
    #[schema(minimum = -1000, maximum = 1000)]
    priority: Option<i64>,
    /// 1 to 100; 5 where absent.
    #[schema(minimum = 1, maximum = 100)]
    max_attempts: Option<u64>,
    #[schema(value_type = Option<BackoffRequest>)]
    backoff: Option<Object<BackoffRequest>>,
    /// Whoever makes the schedule, where absent.
    #[schema(value_type = Option<String>, max_length = 255)]
    owner: Option<UserId>,
    #[schema(value_type = Option<String>, max_length = 255)]
    subject: Option<Subject>,
}

impl ScheduledJobRequest {
    pub(crate) fn into_spec(
        self,
        path: &str,
        principal: &Principal,
        limits: &Limits,
    ) -> Result<JobSpec, Problem> {
        let Self { r#type, payload, priority, max_attempts, backoff, owner, subject } = self;
        let (run_at, unique_key) = (None, None);
        let job = EnqueueRequest {
            r#type,
            payload,
            run_at,
            priority,
            unique_key,
            max_attempts,
            backoff,
            owner,
            subject,
        };
        job.into_spec(path, principal, limits)
    }
}

/// The wait before attempt n is `base · 2^(n − 1)`, at most `max`, less a random half.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Backoff)]
pub(crate) struct BackoffRequest {
    #[schema(value_type = Option<String>, example = "1s")]
    base: Option<Span>,
    #[schema(value_type = Option<String>, example = "1h")]
    max: Option<Span>,
}

/// Enqueue one job, or several atomically.
#[utoipa::path(
    post, path = "/api/v1/jobs", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same body by the same user within 24 h returns the first outcome")),
    request_body(content = inline(crate::openapi::OneOrMany<EnqueueRequest>)),
    responses(
        (status = 201, description = "Enqueued: the job, or {\"jobs\":[…]} for an array", body = crate::openapi::Job),
        (status = 200, description = "A live job held the unique key, or the request is a repeat: that job", body = crate::openapi::Job),
    ),
)]
pub(crate) async fn enqueue(
    access: Access<may::EnqueueJobs>,
    State(store): State<Arc<dyn Store>>,
    State(journal): State<Journal>,
    State(settings): State<Settings>,
    State(ids): State<Ids>,
    key: IdempotencyKey,
    JsonText(text): JsonText,
) -> Result<Response, Problem> {
    let limits = Arc::clone(&settings.get());
    let requests = batch(OneOrMany::<EnqueueRequest>::parse(&text)?, limits.limits.batch_items)?;
    let jobs =
        requests.try_map(|path, request| request.into_job(path, &access.principal, &limits.limits, &ids))?;
    let one = jobs.is_one();
    let jobs = jobs.into_vec();
    access.spend(Metered::Enqueues, jobs.len())?;
    let idempotency = key.under("POST /jobs", &access.principal, &text);
    let operation = Operation::Enqueue { jobs, idempotency };
    match submit(&journal, access.command(operation)?).await? {
        Outcome::Enqueued(enqueued) => {
            let shown = held::shown(&*store, &access, &enqueued).await?;
            let created = enqueued.iter().any(|e| e.created);
            Ok(answer(&shown, one, if created { StatusCode::CREATED } else { StatusCode::OK }))
        }
        other => unreachable!("enqueueing is answered by jobs, not by {other:?}"),
    }
}

fn answer(shown: &[&[u8]], one: bool, status: StatusCode) -> Response {
    match shown {
        [only] if one => body::raw(status, only.to_vec()),
        many => body::raw(status, crate::routes::list_text("jobs", many.iter().copied(), None)),
    }
}

impl EnqueueRequest {
    pub(crate) const fn names_a_time(&self) -> bool {
        self.run_at.is_some()
    }

    /// The job that it asks for; `path` is where the request stands in the body.
    pub(crate) fn into_job(
        self,
        path: &str,
        principal: &Principal,
        limits: &Limits,
        ids: &Ids,
    ) -> Result<NewJob, Problem> {
        let run_at = self.run_at;
        Ok(NewJob { spec: self.into_spec(path, principal, limits)?, id: ids.job(), run_at })
    }

    fn into_spec(self, path: &str, principal: &Principal, limits: &Limits) -> Result<JobSpec, Problem> {
        let payload = self.payload.unwrap_or_else(RawJson::null);
        body::within_limits(&payload, path, "payload", limits)?;
        access::may_write_about(principal, self.subject.as_ref())?;
        let mut spec = JobSpec::new(self.r#type, payload);
        spec.owner = access::owner_of(principal, self.owner)?;
        spec.subject = self.subject;
        spec.unique_key = self.unique_key;
        // What does not fit is beyond every bound that `validate` knows.
        spec.priority = self.priority.map_or(0, |p| i16::try_from(p).unwrap_or(i16::MAX));
        spec.max_attempts =
            self.max_attempts.map_or(JobSpec::MAX_ATTEMPTS_DEFAULT, |n| u32::try_from(n).unwrap_or(u32::MAX));
        if let Some(Object(backoff)) = self.backoff {
            spec.backoff = backoff.into_backoff();
        }
        spec.validate().map_err(|e| invalid(&format!("{path}.{}", e.field()), e))?;
        Ok(spec)
    }
}

impl BackoffRequest {
    /// A `base` alone may lie beyond the usual `max`, and a `max` alone below the usual `base`.
    fn into_backoff(self) -> Backoff {
        let usual = Backoff::default();
        let (base, max) = (self.base.map(|s| s.0), self.max.map(|s| s.0));
        Backoff {
            base: base.unwrap_or_else(|| usual.base.min(max.unwrap_or(usual.max))),
            max: max.unwrap_or_else(|| usual.max.max(base.unwrap_or(usual.base))),
        }
    }
}
