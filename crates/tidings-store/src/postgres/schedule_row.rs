//! Schedules as rows.

use std::time::Duration;

use tidings_core::{
    JobId, JobType, Schedule, ScheduleId, ScheduleName, ScheduleSpec, Subject, TenantId, UserId,
    job::{Backoff, JobSpec},
    schedule::{Cron, Overlap, Timing, Zone},
};
use tokio_postgres::Row;

use super::codec::{Columns, Id, Result};

/// A row named `schedule`, in the order that [`from_row`] reads.
macro_rules! schedule_columns {
    () => {
        "(schedule).id, (schedule).tenant_id, (schedule).version, (schedule).name, (schedule).cron, (schedule).zone,
         (schedule).overlap, (schedule).paused, (schedule).created_at, (schedule).next_fire, (schedule).last_fire,
         (schedule).last_job, (schedule).last_skip, (schedule).job_type, (schedule).owner, (schedule).subject,
         (schedule).priority, (schedule).max_attempts, (schedule).backoff_base, (schedule).backoff_max,
         (schedule).payload"
    };
}
pub(super) use schedule_columns;

/// A schedule as it was looked at.
#[derive(Debug, Clone)]
pub(super) struct SeenSchedule {
    pub(super) version: i64,
    pub(super) schedule: Schedule,
}

/// Reads the columns from `first` on; `None` where there is no schedule.
pub(super) fn from_row(row: &Row, first: usize) -> Result<Option<SeenSchedule>> {
    let at = Columns::from(row, first);
    if at.is_null(0)? {
        return Ok(None);
    }
    let last_fire = match (at.time_opt(10)?, at.get::<Option<Id>>(11)?) {
        (Some(time), Some(job)) => Some((time, JobId::from_bytes(job.0))),
        _ => None,
    };
    let schedule = Schedule {
        id: ScheduleId::from_bytes(at.get::<Id>(0)?.0),
        tenant: at.parsed(1, |text| TenantId::new(text))?,
        spec: spec(at)?,
        paused: at.get(7)?,
        created_at: at.time(8)?,
        next_fire: at.time_opt(9)?,
        last_fire,
        last_skip: at.time_opt(12)?,
    };
    Ok(Some(SeenSchedule { version: at.get(2)?, schedule }))
}

fn spec(at: Columns<'_>) -> Result<ScheduleSpec> {
    let mut job = JobSpec::new(at.parsed(13, |text| JobType::new(text))?, at.json(20)?);
    job.owner = at.parsed_opt(14, |text| UserId::new(text))?;
    job.subject = at.parsed_opt(15, |text| Subject::new(text))?;
    job.priority = at.get(16)?;
    job.max_attempts = at.get::<i32>(17)? as u32;
    job.backoff =
        Backoff { base: Duration::from_micros(at.number(18)?), max: Duration::from_micros(at.number(19)?) };
    Ok(ScheduleSpec {
        name: at.parsed(3, |text| ScheduleName::new(text))?,
        timing: Timing { cron: at.parsed(4, str::parse::<Cron>)?, zone: at.parsed(5, str::parse::<Zone>)? },
        overlap: at.parsed(6, |text| Overlap::parse(text).ok_or("it is no way to overlap"))?,
        job,
    })
}
