use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::{
    JobId, JobType, RawJson, Schedule, ScheduleId, ScheduleName, ScheduleSpec, Subject, TenantId, Timestamp,
    UserId,
    job::{Backoff, JobSpec},
    schedule::{Cron, Overlap, Timing, Zone},
};

use super::record::micros;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleLine {
    id: ScheduleId,
    name: ScheduleName,
    cron: String,
    zone: String,
    overlap: String,
    paused: bool,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_fire: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_fire: Option<(Timestamp, JobId)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_skip: Option<Timestamp>,
    #[serde(rename = "type")]
    job_type: JobType,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
    priority: i16,
    max_attempts: u32,
    backoff_base_us: u64,
    backoff_max_us: u64,
    payload: RawJson,
}

impl From<&Schedule> for ScheduleLine {
    fn from(schedule: &Schedule) -> Self {
        let (spec, job) = (&schedule.spec, &schedule.spec.job);
        Self {
            id: schedule.id,
            name: spec.name.clone(),
            cron: spec.timing.cron.as_str().to_owned(),
            zone: spec.timing.zone.as_str().to_owned(),
            overlap: spec.overlap.as_str().to_owned(),
            paused: schedule.paused,
            created_at: schedule.created_at,
            next_fire: schedule.next_fire,
            last_fire: schedule.last_fire,
            last_skip: schedule.last_skip,
            job_type: job.job_type.clone(),
            owner: job.owner.clone(),
            subject: job.subject.clone(),
            priority: job.priority,
            max_attempts: job.max_attempts,
            backoff_base_us: micros(job.backoff.base),
            backoff_max_us: micros(job.backoff.max),
            payload: job.payload.clone(),
        }
    }
}

impl ScheduleLine {
    pub(super) fn into_schedule(self, tenant: &TenantId) -> Result<Schedule, String> {
        let timing = Timing {
            cron: self.cron.parse::<Cron>().map_err(|e| e.to_string())?,
            zone: self.zone.parse::<Zone>().map_err(|e| e.to_string())?,
        };
        let mut job = JobSpec::new(self.job_type, self.payload);
        job.owner = self.owner;
        job.subject = self.subject;
        job.priority = self.priority;
        job.max_attempts = self.max_attempts;
        job.backoff = Backoff {
            base: Duration::from_micros(self.backoff_base_us),
            max: Duration::from_micros(self.backoff_max_us),
        };
        let overlap = Overlap::parse(&self.overlap).ok_or("overlap is allow or skip")?;
        Ok(Schedule {
            id: self.id,
            tenant: tenant.clone(),
            spec: ScheduleSpec { name: self.name, timing, overlap, job },
            paused: self.paused,
            created_at: self.created_at,
            next_fire: self.next_fire,
            last_fire: self.last_fire,
            last_skip: self.last_skip,
        })
    }
}
