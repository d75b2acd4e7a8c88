//! Jobs as rows: one each, state and specification together.

use std::time::Duration;

use tidings_core::{
    Category, Failure, Job, JobId, JobState, JobType, Seq, Subject, TenantId, UniqueKey, UserId, WorkerName,
    job::{Backoff, JobSpec, Lease, Progress, Report},
};
use tokio_postgres::Row;

use super::codec::{Columns, Id, Result};

/// A row named `job`, in the order that [`from_row`] reads.
macro_rules! job_columns {
    () => {
        "(job).id, (job).tenant_id, (job).version, (job).job_type, (job).state, (job).owner, (job).subject,
         (job).priority, (job).run_at, (job).attempt, (job).lease_no, (job).worker, (job).lease_expires_at,
         (job).cancel_requested, (job).reported_lease_no, (job).reported, (job).percent, (job).message,
         (job).failure_category, (job).failure_message, (job).failure_raw, (job).created_at, (job).started_at,
         (job).finished_at, (job).seq, (job).unique_key, (job).max_attempts, (job).backoff_base,
         (job).backoff_max, (job).retry_of, (job).payload, (job).result"
    };
}
pub(super) use job_columns;

/// A job as it was looked at.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) version: i64,
    pub(super) job: Job,
}

pub(super) use crate::job_state::code as state_code;

/// Reads the columns from `first` on; `None` where there is no job.
pub(super) fn from_row(row: &Row, first: usize) -> Result<Option<Seen>> {
    let at = Columns::from(row, first);
    if at.is_null(0)? {
        return Ok(None);
    }
    let reported = match (at.get::<Option<i64>>(14)?, at.get::<Option<i16>>(15)?) {
        (Some(lease_no), Some(report)) => {
            Some((lease_no as u64, if report == 1 { Report::Fail } else { Report::Complete }))
        }
        _ => None,
    };
    let progress = match at.get::<Option<i16>>(16)? {
        Some(percent) => Some(Progress { percent: percent as u8, message: at.words(17)? }),
        None => None,
    };
    let failure = match at.parsed_opt(18, str::parse::<Category>)? {
        Some(category) => Some(Failure {
            category,
            message: at.words(19)?.unwrap_or_default(),
            raw: at.words(20)?.unwrap_or_default(),
        }),
        None => None,
    };
    let job = Job {
        id: JobId::from_bytes(at.get::<Id>(0)?.0),
        tenant: at.parsed(1, |text| TenantId::new(text))?,
        spec: spec(at)?,
        state: state(at)?,
        attempt: at.get::<i32>(9)? as u32,
        lease_no: at.number(10)?,
        reported,
        progress,
        failure,
        created_at: at.time(21)?,
        started_at: at.time_opt(22)?,
        seq: Seq::new(at.number(24)?),
    };
    Ok(Some(Seen { version: at.get(2)?, job }))
}

fn spec(at: Columns<'_>) -> Result<JobSpec> {
    Ok(JobSpec {
        job_type: at.parsed(3, |text| JobType::new(text))?,
        payload: at.json(30)?,
        owner: at.parsed_opt(5, |text| UserId::new(text))?,
        subject: at.parsed_opt(6, |text| Subject::new(text))?,
        priority: at.get(7)?,
        unique_key: at.parsed_opt(25, |text| UniqueKey::new(text))?,
        max_attempts: at.get::<i32>(26)? as u32,
        backoff: Backoff {
            base: Duration::from_micros(at.number(27)?),
            max: Duration::from_micros(at.number(28)?),
        },
        retry_of: at.get::<Option<Id>>(29)?.map(|id| JobId::from_bytes(id.0)),
    })
}

fn state(at: Columns<'_>) -> Result<JobState> {
    Ok(match at.get::<i16>(4)? {
        0 => JobState::Scheduled { run_at: at.time(8)? },
        1 => JobState::Queued { run_at: at.time(8)? },
        2 => JobState::Running {
            lease: Lease { worker: at.parsed(11, |text| WorkerName::new(text))?, expires_at: at.time(12)? },
            cancel_requested: at.get(13)?,
        },
        3 => JobState::Completed { finished_at: at.time(23)?, result: at.json_opt(31)? },
        4 => JobState::Failed { finished_at: at.time(23)? },
        5 => JobState::Cancelled { finished_at: at.time(23)? },
        other => return Err(at.unreadable(4, &format!("{other} is no state"))),
    })
}
