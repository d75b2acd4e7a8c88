use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;
use tidings_core::{JobId, JobType, RawJson, ScheduleId, ScheduleName, Subject, Timestamp, UserId};

use crate::{BackoffRequest, Client, ClientError, JobView, request::Call};

/// A schedule to be made or replaced. What is `None` is the server's default.
#[derive(Debug, Clone, Serialize)]
pub struct ScheduleRequest {
    pub name: ScheduleName,
    /// Five fields, or a name such as `@daily`. The server judges it.
    pub cron: String,
    /// Of the IANA database, such as `Europe/Berlin`; UTC by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// `allow` or `skip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    pub job: ScheduledJob,
}

/// What a schedule enqueues.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScheduledJob {
    #[serde(rename = "type")]
    pub job_type: JobType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<RawJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffRequest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
}

impl ScheduledJob {
    pub const fn new(job_type: JobType) -> Self {
        Self {
            job_type,
            payload: None,
            priority: None,
            max_attempts: None,
            backoff: None,
            owner: None,
            subject: None,
        }
    }
}

/// A schedule as the server shows it: fields, and the very text that they were read from.
#[derive(Debug, Clone)]
pub struct ScheduleView {
    fields: ScheduleFields,
    text: Box<RawValue>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct ScheduleFields {
    pub id: ScheduleId,
    pub name: ScheduleName,
    pub cron: String,
    pub zone: String,
    pub overlap: String,
    #[serde(default)]
    pub paused: bool,
    pub created_at: Timestamp,
    /// Absent while it is paused.
    pub next_fire_at: Option<Timestamp>,
    pub last_fire_at: Option<Timestamp>,
    pub last_job_id: Option<JobId>,
    /// The newest time that was skipped since an earlier job was not finished.
    pub last_skip_at: Option<Timestamp>,
    pub job: ScheduledJob,
    /// The next times, where one schedule is shown.
    #[serde(default)]
    pub upcoming: Vec<Timestamp>,
}

impl ScheduleView {
    /// The schedule's JSON, byte for byte as the server gave it.
    pub fn text(&self) -> &str {
        self.text.get()
    }
}

impl Deref for ScheduleView {
    type Target = ScheduleFields;
    fn deref(&self) -> &ScheduleFields {
        &self.fields
    }
}

impl<'de> Deserialize<'de> for ScheduleView {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(d)?;
        let fields = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { fields, text })
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct SchedulePage {
    pub schedules: Vec<ScheduleView>,
    #[serde(default)]
    pub next: Option<String>,
}

impl Client {
    /// Makes a schedule; where the name is taken, it is refused.
    pub async fn create_schedule(&self, schedule: &ScheduleRequest) -> Result<ScheduleView, ClientError> {
        self.call(Call::post("api/v1/schedules").json(schedule)).await
    }

    /// Makes a schedule, or replaces what the one of its name does.
    pub async fn put_schedule(&self, schedule: &ScheduleRequest) -> Result<ScheduleView, ClientError> {
        self.call(Call::put(path(&schedule.name)).json(schedule)).await
    }

    pub async fn schedule(&self, name: &ScheduleName) -> Result<ScheduleView, ClientError> {
        self.call(Call::get(path(name))).await
    }

    /// By name.
    pub async fn schedules(&self, cursor: Option<&str>) -> Result<SchedulePage, ClientError> {
        self.call(Call::get("api/v1/schedules").query("cursor", cursor)).await
    }

    /// Nothing fires until it is resumed.
    pub async fn pause_schedule(&self, name: &ScheduleName) -> Result<ScheduleView, ClientError> {
        self.call(Call::post(format!("{}/pause", path(name)))).await
    }

    /// From its next time on; what fell into the pause is not caught up on.
    pub async fn resume_schedule(&self, name: &ScheduleName) -> Result<ScheduleView, ClientError> {
        self.call(Call::post(format!("{}/resume", path(name)))).await
    }

    /// Enqueues its job now, whatever its times are.
    pub async fn trigger_schedule(
        &self,
        name: &ScheduleName,
        idempotency_key: Option<&str>,
    ) -> Result<JobView, ClientError> {
        self.call(Call::post(format!("{}/trigger", path(name))).idempotency_key(idempotency_key)).await
    }

    /// Jobs that it enqueued stay.
    pub async fn delete_schedule(&self, name: &ScheduleName) -> Result<(), ClientError> {
        self.exchange(Call::delete(path(name))).await.map(drop)
    }
}

fn path(name: &ScheduleName) -> String {
    format!("api/v1/schedules/{name}")
}
