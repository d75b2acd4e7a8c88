use std::{ops::Deref, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;
use tidings_core::{
    Category, Cursor, JobId, JobType, RawJson, Seq, Subject, TenantId, Timestamp, UniqueKey, UserId,
    WorkerName, job::StateName,
};

use crate::{Client, ClientError, EventsPage, request::Call};

/// A job to be enqueued. What is `None` is the server's default.
#[derive(Debug, Clone, Serialize)]
pub struct EnqueueRequest {
    #[serde(rename = "type")]
    pub job_type: JobType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_key: Option<UniqueKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
}

/// Durations as texts: `1s`, `5m`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackoffRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
}

impl EnqueueRequest {
    pub const fn new(job_type: JobType) -> Self {
        Self {
            job_type,
            payload: None,
            run_at: None,
            priority: None,
            unique_key: None,
            max_attempts: None,
            backoff: None,
            owner: None,
            subject: None,
        }
    }
}

/// A job as the server shows it: fields, and the very text that they were read from.
#[derive(Debug, Clone)]
pub struct JobView {
    fields: JobFields,
    text: Box<RawValue>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct JobFields {
    pub id: JobId,
    pub tenant_id: TenantId,
    #[serde(rename = "type")]
    pub job_type: JobType,
    #[serde(deserialize_with = "from_text")]
    pub state: StateName,
    pub seq: Seq,
    #[serde(default)]
    pub priority: i16,
    #[serde(default)]
    pub attempt: u32,
    #[serde(default)]
    pub max_attempts: u32,
    pub created_at: Timestamp,
    pub payload: Option<RawJson>,
    pub owner: Option<UserId>,
    pub subject: Option<Subject>,
    pub unique_key: Option<UniqueKey>,
    pub retry_of: Option<JobId>,
    pub run_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub worker: Option<WorkerName>,
    pub lease_expires_at: Option<Timestamp>,
    #[serde(default)]
    pub cancel_requested: bool,
    pub percent: Option<u8>,
    pub message: Option<String>,
    pub result: Option<RawJson>,
    pub error: Option<JobError>,
}

/// Why a job's newest attempt failed.
#[derive(Debug, Clone, Deserialize)]
pub struct JobError {
    pub category: Category,
    pub message: String,
    /// For holders of `events:detail`.
    pub raw: Option<String>,
}

impl JobView {
    /// The job's JSON, byte for byte as the server gave it.
    pub fn text(&self) -> &str {
        self.text.get()
    }
}

impl Deref for JobView {
    type Target = JobFields;
    fn deref(&self) -> &JobFields {
        &self.fields
    }
}

impl<'de> Deserialize<'de> for JobView {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(d)?;
        let fields = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { fields, text })
    }
}

fn from_text<'de, T: FromStr<Err: std::fmt::Display>, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
    text.parse().map_err(D::Error::custom)
}

/// Which jobs to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct JobListRequest {
    pub state: Option<StateName>,
    pub job_type: Option<JobType>,
    pub owner: Option<String>,
    pub subject: Option<Subject>,
    pub limit: Option<u32>,
    /// [`JobPage::next`] of the page before.
    pub cursor: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct JobPage {
    pub jobs: Vec<JobView>,
    #[serde(default)]
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct Jobs {
    jobs: Vec<JobView>,
}

impl Client {
    /// Enqueues one job, or returns the live one that holds its unique key.
    pub async fn enqueue(
        &self,
        job: &EnqueueRequest,
        idempotency_key: Option<&str>,
    ) -> Result<JobView, ClientError> {
        self.call(Call::post("api/v1/jobs").json(job).idempotency_key(idempotency_key)).await
    }

    /// Enqueues all of them or, where one is refused, none.
    pub async fn enqueue_many(
        &self,
        jobs: &[EnqueueRequest],
        idempotency_key: Option<&str>,
    ) -> Result<Vec<JobView>, ClientError> {
        let call = Call::post("api/v1/jobs").json(&jobs).idempotency_key(idempotency_key);
        Ok(self.call::<Jobs>(call).await?.jobs)
    }

    pub async fn job(&self, id: JobId) -> Result<JobView, ClientError> {
        self.call(Call::get(format!("api/v1/jobs/{id}"))).await
    }

    pub async fn jobs(&self, list: &JobListRequest) -> Result<JobPage, ClientError> {
        let call = Call::get("api/v1/jobs")
            .query("state", list.state)
            .query("type", list.job_type.as_ref())
            .query("owner", list.owner.as_ref())
            .query("subject", list.subject.as_ref())
            .query("limit", list.limit)
            .query("cursor", list.cursor.as_ref());
        self.call(call).await
    }

    /// One job's history after `since`.
    pub async fn job_events(
        &self,
        id: JobId,
        since: Option<&Cursor>,
        verbosity: Option<tidings_core::Verbosity>,
    ) -> Result<EventsPage, ClientError> {
        let call = Call::get(format!("api/v1/jobs/{id}/events"))
            .query("since", since)
            .pairs(crate::stream::verbosity_pair(verbosity));
        self.call(call).await
    }

    /// Cancels a waiting job at once; a running one's worker is asked to stop.
    pub async fn cancel_job(&self, id: JobId) -> Result<JobView, ClientError> {
        self.call(Call::post(format!("api/v1/jobs/{id}/cancel"))).await
    }

    /// A new job that does a finished one's work again.
    pub async fn retry_job(&self, id: JobId, idempotency_key: Option<&str>) -> Result<JobView, ClientError> {
        self.call(Call::post(format!("api/v1/jobs/{id}/retry")).idempotency_key(idempotency_key)).await
    }
}
