//! Jobs as rows: one each, state and specification together.

use std::time::Duration;

use rusqlite::{
    Connection, Error, OptionalExtension as _, Result, Row, params,
    types::{Type, ValueRef},
};
use tidings_core::{
    Category, Failure, Job, JobId, JobState, JobType, Seq, Subject, TenantId, Timestamp, UniqueKey, UserId,
    WorkerName,
    job::{Backoff, JobSpec, Lease, Progress, Report, StateName},
};

use super::{
    column::{
        get_json, get_json_required, get_parsed, get_parsed_opt, get_time, get_time_opt, get_u64, json,
        json_opt, mismatch,
    },
    tenant::TenantKey,
};
use crate::job_state::{self, StateColumns};

/// A job's number within this database: never used again while an event names it.
pub(super) type JobKey = i64;

/// In the order that [`from_row`] reads. What lists filter by comes first: long payloads live on pages
/// that are only read when their column is.
macro_rules! select_jobs {
    ($where:literal) => {
        concat!("SELECT
    key, id, job_type, state, owner, subject, priority, run_at, attempt, lease_no, worker, lease_expires_at,
    cancel_requested, reported_lease_no, reported, percent, message, failure_category, failure_message, failure_raw,
    created_at, started_at, finished_at, seq, unique_key, max_attempts, backoff_base, backoff_max, retry_of, payload,
    result FROM jobs WHERE ", $where)
    };
}
pub(super) use select_jobs;

const INSERT: &str = "
    INSERT INTO jobs (key, tenant_key, id, job_type, state, owner, subject, priority, run_at, attempt, lease_no,
        cancel_requested, created_at, seq, unique_key, max_attempts, backoff_base, backoff_max, retry_of, payload)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, ?, ?, ?, ?, ?, ?, ?)";

/// With the predicate of the transition: the state and the fence that it started from.
const UPDATE: &str = "
    UPDATE jobs SET state = ?, run_at = ?, attempt = ?, lease_no = ?, worker = ?, lease_expires_at = ?,
        cancel_requested = ?, reported_lease_no = ?, reported = ?, percent = ?, message = ?, failure_category = ?,
        failure_message = ?, failure_raw = ?, started_at = ?, finished_at = ?, seq = ?, result = ?
    WHERE key = ? AND state = ? AND lease_no = ?";

/// What progress changes: no index holds any of it.
const UPDATE_PROGRESS: &str = "
    UPDATE jobs SET percent = ?, message = ?, seq = ? WHERE key = ? AND state = ? AND lease_no = ?";

/// A job with its number.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) key: JobKey,
    pub(super) job: Job,
}

pub(super) const fn state_code(state: StateName) -> i64 {
    job_state::code(state) as i64
}

pub(super) fn find(
    conn: &Connection,
    tenant: TenantKey,
    name: &TenantId,
    id: JobId,
) -> Result<Option<Stored>> {
    conn.prepare_cached(select_jobs!("tenant_key = ? AND id = ?"))?
        .query_row(params![tenant, id.as_bytes()], |row| from_row(row, name))
        .optional()
}

pub(super) fn find_by_key(conn: &Connection, key: JobKey, tenant: &TenantId) -> Result<Option<Stored>> {
    conn.prepare_cached(select_jobs!("key = ?"))?.query_row([key], |row| from_row(row, tenant)).optional()
}

/// The live job that holds a unique key.
pub(super) fn find_unique(
    conn: &Connection,
    tenant: TenantKey,
    name: &TenantId,
    job_type: &JobType,
    unique_key: &UniqueKey,
) -> Result<Option<Stored>> {
    conn.prepare_cached(select_jobs!("tenant_key = ? AND job_type = ? AND unique_key = ? AND state < 3"))?
        .query_row(params![tenant, job_type.as_str(), unique_key.as_str()], |row| from_row(row, name))
        .optional()
}

/// The number of a job, where the tenant has it.
pub(super) fn key_of(conn: &Connection, tenant: TenantKey, id: JobId) -> Result<Option<JobKey>> {
    conn.prepare_cached("SELECT key FROM jobs WHERE tenant_key = ? AND id = ?")?
        .query_row(params![tenant, id.as_bytes()], |row| row.get(0))
        .optional()
}

/// A job that was just enqueued.
pub(super) fn insert(conn: &Connection, tenant: TenantKey, key: JobKey, job: &Job) -> Result<()> {
    let spec = &job.spec;
    conn.prepare_cached(INSERT)?.execute(params![
        key,
        tenant,
        job.id.as_bytes(),
        spec.job_type.as_str(),
        state_code(job.state.name()),
        spec.owner.as_ref().map(UserId::as_str),
        spec.subject.as_ref().map(Subject::as_str),
        spec.priority,
        StateColumns::of(&job.state).run_at,
        job.created_at.as_micros(),
        job.seq.get() as i64,
        spec.unique_key.as_ref().map(UniqueKey::as_str),
        spec.max_attempts,
        micros(spec.backoff.base),
        micros(spec.backoff.max),
        spec.retry_of.as_ref().map(JobId::as_bytes),
        json(&spec.payload),
    ])?;
    Ok(())
}

/// The state and the fence that a transition started from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub(super) state: StateName,
    pub(super) lease_no: u64,
}

impl Before {
    pub(super) const fn of(job: &Job) -> Self {
        Self { state: job.state.name(), lease_no: job.lease_no }
    }
}

/// Writes a transition. The row must still be where it started from: the writer is alone, so that
/// anything else is a broken invariant.
pub(super) fn update(conn: &Connection, key: JobKey, before: Before, job: &Job) -> Result<()> {
    let state = StateColumns::of(&job.state);
    let failure = job.failure.as_ref();
    let changed = conn.prepare_cached(UPDATE)?.execute(params![
        state_code(job.state.name()),
        state.run_at,
        job.attempt,
        job.lease_no as i64,
        state.worker,
        state.lease_expires_at,
        state.cancel_requested,
        job.reported.map(|(lease_no, _)| lease_no as i64),
        job.reported.map(|(_, report)| matches!(report, Report::Fail)),
        job.progress.as_ref().map(|p| p.percent),
        job.progress.as_ref().and_then(|p| p.message.as_deref()),
        failure.map(|f| f.category.as_str()),
        failure.map(|f| f.message.as_str()),
        failure.map(|f| f.raw.as_str()),
        job.started_at.map(Timestamp::as_micros),
        state.finished_at,
        job.seq.get() as i64,
        json_opt(state.result),
        key,
        state_code(before.state),
        before.lease_no as i64,
    ])?;
    one(changed)
}

pub(super) fn update_progress(conn: &Connection, key: JobKey, before: Before, job: &Job) -> Result<()> {
    let progress = job.progress.as_ref();
    let changed = conn.prepare_cached(UPDATE_PROGRESS)?.execute(params![
        progress.map(|p| p.percent),
        progress.and_then(|p| p.message.as_deref()),
        job.seq.get() as i64,
        key,
        state_code(before.state),
        before.lease_no as i64,
    ])?;
    one(changed)
}

fn one(changed: usize) -> Result<()> {
    if changed == 1 { Ok(()) } else { Err(Error::StatementChangedRows(changed)) }
}

pub(super) fn from_row(row: &Row<'_>, tenant: &TenantId) -> Result<Stored> {
    let reported = match (row.get::<_, Option<i64>>(13)?, row.get::<_, Option<bool>>(14)?) {
        (Some(lease_no), Some(failed)) => {
            Some((lease_no as u64, if failed { Report::Fail } else { Report::Complete }))
        }
        _ => None,
    };
    let progress = match row.get::<_, Option<u8>>(15)? {
        Some(percent) => Some(Progress { percent, message: row.get(16)? }),
        None => None,
    };
    let failure = match get_parsed_opt(row, 17, str::parse::<Category>)? {
        Some(category) => Some(Failure { category, message: row.get(18)?, raw: row.get(19)? }),
        None => None,
    };
    let job = Job {
        id: JobId::from_bytes(row.get(1)?),
        tenant: tenant.clone(),
        spec: spec(row)?,
        state: state(row)?,
        attempt: row.get(8)?,
        lease_no: get_u64(row, 9)?,
        reported,
        progress,
        failure,
        created_at: get_time(row, 20)?,
        started_at: get_time_opt(row, 21)?,
        seq: Seq::new(get_u64(row, 23)?),
    };
    Ok(Stored { key: row.get(0)?, job })
}

fn spec(row: &Row<'_>) -> Result<JobSpec> {
    Ok(JobSpec {
        job_type: get_parsed(row, 2, |text| JobType::new(text))?,
        payload: get_json_required(row, 29)?,
        owner: get_parsed_opt(row, 4, |text| UserId::new(text))?,
        subject: get_parsed_opt(row, 5, |text| Subject::new(text))?,
        priority: row.get(6)?,
        unique_key: get_parsed_opt(row, 24, |text| UniqueKey::new(text))?,
        max_attempts: row.get(25)?,
        backoff: Backoff {
            base: Duration::from_micros(get_u64(row, 26)?),
            max: Duration::from_micros(get_u64(row, 27)?),
        },
        retry_of: row.get::<_, Option<[u8; 16]>>(28)?.map(JobId::from_bytes),
    })
}

fn state(row: &Row<'_>) -> Result<JobState> {
    Ok(match row.get::<_, i64>(3)? {
        0 => JobState::Scheduled { run_at: get_time(row, 7)? },
        1 => JobState::Queued { run_at: get_time(row, 7)? },
        2 => JobState::Running {
            lease: Lease {
                worker: get_parsed(row, 10, |text| WorkerName::new(text))?,
                expires_at: get_time(row, 11)?,
            },
            cancel_requested: row.get(12)?,
        },
        3 => JobState::Completed { finished_at: get_time(row, 22)?, result: get_json(row, 30)? },
        4 => JobState::Failed { finished_at: get_time(row, 22)? },
        5 => JobState::Cancelled { finished_at: get_time(row, 22)? },
        _ => return Err(mismatch(3, Type::Integer)),
    })
}

/// Whether a row of [`select_jobs`] is one that a list asks for; reads only the columns at its front.
pub(super) fn matches(row: &Row<'_>, query: &crate::JobQuery) -> Result<bool> {
    let text_is = |at: usize, wanted: Option<&str>| -> Result<bool> {
        let Some(wanted) = wanted else { return Ok(true) };
        Ok(matches!(row.get_ref(at)?, ValueRef::Text(text) if text == wanted.as_bytes()))
    };
    Ok(query.state.is_none_or(|state| row.get::<_, i64>(3).is_ok_and(|code| code == state_code(state)))
        && text_is(2, query.job_type.as_ref().map(JobType::as_str))?
        && text_is(4, query.owner.as_ref().map(UserId::as_str))?
        && text_is(5, query.subject.as_ref().map(Subject::as_str))?)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
