//! The data of each job event, at each verbosity. This is the one place that redacts.

use serde_json::{Value, json};

use crate::{EventBody, EventType, Failure, Job, NewEvent, RawJson, Timestamp, WorkerName};

use super::{Moment, Progress};

/// Why a job waits for its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheduled {
    Enqueued,
    Released,
}

pub(super) fn queued(job: &Job, run_at: Timestamp, at: Moment<'_>) -> NewEvent {
    make(job, EventType::JOB_QUEUED, enqueued(job, run_at), at)
}

pub(super) fn scheduled(job: &Job, run_at: Timestamp, why: Scheduled, at: Moment<'_>) -> NewEvent {
    let body = match why {
        Scheduled::Enqueued => enqueued(job, run_at),
        Scheduled::Released => minimal(&json!({ "run_at": run_at, "reason": "released" })),
    };
    make(job, EventType::JOB_SCHEDULED, body, at)
}

pub(super) fn started(job: &Job, worker: &WorkerName, at: Moment<'_>) -> NewEvent {
    let body = with_detail(&json!({ "attempt": job.attempt }), "worker", &RawJson::from_value(worker));
    make(job, EventType::JOB_STARTED, body, at)
}

pub(super) fn progress(job: &Job, progress: &Progress, at: Moment<'_>) -> NewEvent {
    let data = json!({ "percent": progress.percent });
    let body = match &progress.message {
        Some(message) => with_detail(&data, "message", &RawJson::from_value(message)),
        None => minimal(&data),
    };
    make(job, EventType::JOB_PROGRESS, body, at)
}

pub(super) fn retrying(job: &Job, failure: &Failure, run_at: Timestamp, at: Moment<'_>) -> NewEvent {
    let data = json!({
        "attempt": job.attempt,
        "category": failure.category,
        "message": failure.message,
        "run_at": run_at,
    });
    make(job, EventType::JOB_RETRYING, with_raw(&data, failure), at)
}

pub(super) fn completed(job: &Job, result: Option<&RawJson>, at: Moment<'_>) -> NewEvent {
    let data = json!({ "attempt": job.attempt });
    let body = match result {
        Some(result) => with_detail(&data, "result", result),
        None => minimal(&data),
    };
    make(job, EventType::JOB_COMPLETED, body, at)
}

pub(super) fn failed(job: &Job, failure: &Failure, at: Moment<'_>) -> NewEvent {
    let data = json!({ "attempt": job.attempt, "category": failure.category, "message": failure.message });
    make(job, EventType::JOB_FAILED, with_raw(&data, failure), at)
}

pub(super) fn cancelled(job: &Job, at: Moment<'_>) -> NewEvent {
    make(job, EventType::JOB_CANCELLED, minimal(&json!({ "attempt": job.attempt })), at)
}

fn make(job: &Job, event_type: EventType, body: EventBody, at: Moment<'_>) -> NewEvent {
    NewEvent {
        id: at.event_id(),
        event_type,
        job: Some(job.reference()),
        owner: job.spec.owner.clone(),
        subject: job.spec.subject.clone(),
        body,
    }
}

fn enqueued(job: &Job, run_at: Timestamp) -> EventBody {
    let mut data = json!({ "priority": job.spec.priority, "run_at": run_at });
    if let Some(retry_of) = job.spec.retry_of {
        data["retry_of"] = json!(retry_of);
    }
    with_detail(&data, "payload", &job.spec.payload)
}

fn minimal(data: &Value) -> EventBody {
    EventBody::same_for_all(RawJson::from_value(data))
}

/// `more` is added from verbosity `detail` up.
fn with_detail(data: &Value, key: &str, more: &RawJson) -> EventBody {
    let minimal = RawJson::from_value(data);
    let detail = Some(extended(&minimal, key, more));
    EventBody { minimal, detail, debug: None }
}

/// The worker's own words are for verbosity `debug` alone.
fn with_raw(data: &Value, failure: &Failure) -> EventBody {
    let minimal = RawJson::from_value(data);
    let debug = Some(extended(&minimal, "error", &RawJson::from_value(&failure.raw)));
    EventBody { minimal, detail: None, debug }
}

/// An object with one more field, whose JSON is not read again.
fn extended(object: &RawJson, key: &str, more: &RawJson) -> RawJson {
    let mut text = object.as_bytes()[..object.len() - 1].to_vec();
    text.extend_from_slice(format!(",\"{key}\":").as_bytes());
    text.extend_from_slice(more.as_bytes());
    text.push(b'}');
    RawJson::from_stored(text)
}
