//! The lines of an archive. Their names are a format: change them only with a new version.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use tidings_core::{
    Category, Epoch, Event, EventBody, EventId, EventType, Failure, Grant, Job, JobId, JobRef, JobState,
    JobType, KeyId, NewEvent, RawJson, Seq, Subject, TenantId, Timestamp, UniqueKey, UserId, WorkerName,
    job::{Backoff, JobSpec, Lease, Progress, Report},
};

use super::{
    endpoint_line::{DeliveryLine, EndpointLine},
    schedule_line::ScheduleLine,
};
use crate::{KeyRecord, LogState, TenantRecord, TenantState};

/// The version that this release writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    /// The first one.
    Tidings {
        version: u32,
        /// When the archive was begun. Absent in archives of releases that did not say so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Timestamp>,
    },
    /// What follows is this tenant's, up to the next one.
    Tenant(TenantLine),
    Event(Box<EventLine>),
    Job(Box<JobLine>),
    Schedule(Box<ScheduleLine>),
    Endpoint(Box<EndpointLine>),
    /// After its endpoint.
    Delivery(Box<DeliveryLine>),
    /// Before the first tenant: an operator's.
    Key(KeyLine),
    /// The last one: without it the archive was cut off.
    End {
        tenants: u64,
        events: u64,
        jobs: u64,
        schedules: u64,
        /// Absent in archives of releases that had none.
        #[serde(default)]
        endpoints: u64,
        #[serde(default)]
        deliveries: u64,
        keys: u64,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantLine {
    id: TenantId,
    suspended: bool,
    epoch: String,
    head: Seq,
    oldest: Seq,
    created_at: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventLine {
    seq: Seq,
    time: Timestamp,
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<JobId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_type: Option<JobType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
    data: RawJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    debug: Option<RawJson>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobLine {
    id: JobId,
    #[serde(rename = "type")]
    job_type: JobType,
    state: StateLine,
    attempt: u32,
    lease_no: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<ReportLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureLine>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Timestamp>,
    seq: Seq,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Subject>,
    priority: i16,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_key: Option<UniqueKey>,
    max_attempts: u32,
    backoff_base_us: u64,
    backoff_max_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<JobId>,
    payload: RawJson,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum StateLine {
    Scheduled {
        run_at: Timestamp,
    },
    Queued {
        run_at: Timestamp,
    },
    Running {
        worker: WorkerName,
        lease_expires_at: Timestamp,
        cancel_requested: bool,
    },
    Completed {
        finished_at: Timestamp,
        #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
        result: Option<RawJson>,
    },
    Failed {
        finished_at: Timestamp,
    },
    Cancelled {
        finished_at: Timestamp,
    },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportLine {
    lease_no: u64,
    failed: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgressLine {
    percent: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FailureLine {
    category: Category,
    message: String,
    raw: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyLine {
    id: KeyId,
    name: String,
    /// SHA-256 of the whole key, in hexadecimal.
    hash: String,
    grant: Grant,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
}

impl From<&TenantRecord> for TenantLine {
    fn from(tenant: &TenantRecord) -> Self {
        Self {
            id: tenant.id.clone(),
            suspended: tenant.state == TenantState::Suspended,
            epoch: tenant.log.epoch.as_str().to_owned(),
            head: tenant.log.head,
            oldest: tenant.log.oldest,
            created_at: tenant.created_at,
        }
    }
}

impl TryFrom<TenantLine> for TenantRecord {
    type Error = String;
    fn try_from(line: TenantLine) -> Result<Self, String> {
        let epoch = Epoch::parse(&line.epoch).map_err(|e| e.to_string())?;
        if line.oldest.get() == 0 || line.oldest > line.head.next() {
            return Err(format!(
                "the log of {} ends at {} and cannot begin at {}",
                line.id, line.head, line.oldest
            ));
        }
        Ok(Self {
            id: line.id,
            state: if line.suspended { TenantState::Suspended } else { TenantState::Active },
            log: LogState { epoch, head: line.head, oldest: line.oldest },
            created_at: line.created_at,
        })
    }
}

impl From<&Event> for EventLine {
    fn from(event: &Event) -> Self {
        let fact = &event.fact;
        Self {
            seq: event.seq,
            time: event.time,
            id: fact.id,
            event_type: fact.event_type.clone(),
            job_id: fact.job.as_ref().map(|job| job.id),
            job_type: fact.job.as_ref().map(|job| job.job_type.clone()),
            owner: fact.owner.clone(),
            subject: fact.subject.clone(),
            data: fact.body.minimal.clone(),
            detail: fact.body.detail.clone(),
            debug: fact.body.debug.clone(),
        }
    }
}

impl EventLine {
    pub(super) fn into_event(self, tenant: &TenantId) -> Event {
        let job = self.job_id.zip(self.job_type).map(|(id, job_type)| JobRef { id, job_type });
        Event {
            seq: self.seq,
            time: self.time,
            tenant: tenant.clone(),
            fact: NewEvent {
                id: self.id,
                event_type: self.event_type,
                job,
                owner: self.owner,
                subject: self.subject,
                body: EventBody { minimal: self.data, detail: self.detail, debug: self.debug },
            },
        }
    }
}

impl From<&Job> for JobLine {
    fn from(job: &Job) -> Self {
        let spec = &job.spec;
        Self {
            id: job.id,
            job_type: spec.job_type.clone(),
            state: StateLine::from(&job.state),
            attempt: job.attempt,
            lease_no: job.lease_no,
            reported: job
                .reported
                .map(|(lease_no, report)| ReportLine { lease_no, failed: report == Report::Fail }),
            progress: job
                .progress
                .as_ref()
                .map(|p| ProgressLine { percent: p.percent, message: p.message.clone() }),
            failure: job.failure.as_ref().map(|f| FailureLine {
                category: f.category,
                message: f.message.clone(),
                raw: f.raw.clone(),
            }),
            created_at: job.created_at,
            started_at: job.started_at,
            seq: job.seq,
            owner: spec.owner.clone(),
            subject: spec.subject.clone(),
            priority: spec.priority,
            unique_key: spec.unique_key.clone(),
            max_attempts: spec.max_attempts,
            backoff_base_us: micros(spec.backoff.base),
            backoff_max_us: micros(spec.backoff.max),
            retry_of: spec.retry_of,
            payload: spec.payload.clone(),
        }
    }
}

impl JobLine {
    pub(super) fn without_end_of_lease(&self) -> Self {
        let mut line = self.clone();
        if let StateLine::Running { lease_expires_at, .. } = &mut line.state {
            *lease_expires_at = Timestamp::default();
        }
        line
    }

    pub(super) fn into_job(self, tenant: &TenantId) -> Job {
        let spec = JobSpec {
            job_type: self.job_type,
            payload: self.payload,
            owner: self.owner,
            subject: self.subject,
            priority: self.priority,
            unique_key: self.unique_key,
            max_attempts: self.max_attempts,
            backoff: Backoff {
                base: Duration::from_micros(self.backoff_base_us),
                max: Duration::from_micros(self.backoff_max_us),
            },
            retry_of: self.retry_of,
        };
        Job {
            id: self.id,
            tenant: tenant.clone(),
            spec,
            state: self.state.into(),
            attempt: self.attempt,
            lease_no: self.lease_no,
            reported: self
                .reported
                .map(|r| (r.lease_no, if r.failed { Report::Fail } else { Report::Complete })),
            progress: self.progress.map(|p| Progress { percent: p.percent, message: p.message }),
            failure: self.failure.map(|f| Failure { category: f.category, message: f.message, raw: f.raw }),
            created_at: self.created_at,
            started_at: self.started_at,
            seq: self.seq,
        }
    }
}

impl From<&JobState> for StateLine {
    fn from(state: &JobState) -> Self {
        match state.clone() {
            JobState::Scheduled { run_at } => Self::Scheduled { run_at },
            JobState::Queued { run_at } => Self::Queued { run_at },
            JobState::Running { lease, cancel_requested } => {
                Self::Running { worker: lease.worker, lease_expires_at: lease.expires_at, cancel_requested }
            }
            JobState::Completed { finished_at, result } => Self::Completed { finished_at, result },
            JobState::Failed { finished_at } => Self::Failed { finished_at },
            JobState::Cancelled { finished_at } => Self::Cancelled { finished_at },
        }
    }
}

impl From<StateLine> for JobState {
    fn from(state: StateLine) -> Self {
        match state {
            StateLine::Scheduled { run_at } => Self::Scheduled { run_at },
            StateLine::Queued { run_at } => Self::Queued { run_at },
            StateLine::Running { worker, lease_expires_at, cancel_requested } => {
                Self::Running { lease: Lease { worker, expires_at: lease_expires_at }, cancel_requested }
            }
            StateLine::Completed { finished_at, result } => Self::Completed { finished_at, result },
            StateLine::Failed { finished_at } => Self::Failed { finished_at },
            StateLine::Cancelled { finished_at } => Self::Cancelled { finished_at },
        }
    }
}

impl From<&KeyRecord> for KeyLine {
    fn from(key: &KeyRecord) -> Self {
        use std::fmt::Write as _;
        let hash = key.hash.iter().fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes every write");
            text
        });
        Self {
            id: key.id,
            name: key.name.clone(),
            hash,
            grant: key.grant.clone(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

impl TryFrom<KeyLine> for KeyRecord {
    type Error = String;
    fn try_from(line: KeyLine) -> Result<Self, String> {
        Ok(Self {
            id: line.id,
            name: line.name,
            hash: hash(&line.hash).ok_or("a key's hash is 64 hexadecimal digits")?,
            grant: line.grant,
            created_at: line.created_at,
            expires_at: line.expires_at,
            revoked_at: line.revoked_at,
        })
    }
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// A result of `null` is a result.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RawJson>, D::Error> {
    RawJson::deserialize(deserializer).map(Some)
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
