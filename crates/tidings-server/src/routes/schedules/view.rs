use serde::Serialize;
use tidings_core::{JobId, RawJson, Schedule, ScheduleId, Timestamp, format_duration, job::JobSpec};

/// How many of its next times a schedule shows.
const UPCOMING: usize = 5;

/// A schedule as it is shown.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Schedule)]
pub(crate) struct ScheduleView<'a> {
    #[schema(value_type = String, format = "uuid")]
    id: ScheduleId,
    name: &'a str,
    cron: &'a str,
    zone: &'a str,
    /// allow or skip
    overlap: &'static str,
    paused: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Absent while it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    next_fire_at: Option<Timestamp>,
    /// The newest time that has a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_fire_at: Option<Timestamp>,
    /// That job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    last_job_id: Option<JobId>,
    /// The newest time that was skipped since an earlier job was not finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_skip_at: Option<Timestamp>,
    job: JobView<'a>,
    /// The next times, where one schedule is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    upcoming: Option<Vec<Timestamp>>,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ScheduledJob)]
struct JobView<'a> {
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    priority: i16,
    max_attempts: u32,
    backoff: BackoffView,
    #[schema(value_type = serde_json::Value)]
    payload: &'a RawJson,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Backoff)]
struct BackoffView {
    base: String,
    max: String,
}

/// A page of them.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes JSON that is written item by item")]
pub(crate) struct SchedulePage<'a> {
    schedules: Vec<ScheduleView<'a>>,
    /// The cursor of the next page.
    next: Option<String>,
}

impl<'a> ScheduleView<'a> {
    /// As lists show it.
    pub(super) fn new(schedule: &'a Schedule) -> Self {
        let spec = &schedule.spec;
        Self {
            id: schedule.id,
            name: spec.name.as_str(),
            cron: spec.timing.cron.as_str(),
            zone: spec.timing.zone.as_str(),
            overlap: spec.overlap.as_str(),
            paused: schedule.paused,
            created_at: schedule.created_at,
            next_fire_at: schedule.next_fire,
            last_fire_at: schedule.last_fire.map(|(at, _)| at),
            last_job_id: schedule.last_fire.map(|(_, job)| job),
            last_skip_at: schedule.last_skip,
            job: JobView::new(&spec.job),
            upcoming: None,
        }
    }

    /// Alone, with its next times.
    pub(super) fn with_upcoming(schedule: &'a Schedule) -> Self {
        Self { upcoming: Some(schedule.upcoming(UPCOMING)), ..Self::new(schedule) }
    }
}

impl<'a> JobView<'a> {
    fn new(job: &'a JobSpec) -> Self {
        Self {
            r#type: job.job_type.as_str(),
            owner: job.owner.as_ref().map(AsRef::as_ref),
            subject: job.subject.as_ref().map(AsRef::as_ref),
            priority: job.priority,
            max_attempts: job.max_attempts,
            backoff: BackoffView {
                base: format_duration(job.backoff.base),
                max: format_duration(job.backoff.max),
            },
            payload: &job.payload,
        }
    }
}
