//! What reading yields.

use std::time::Duration;

use tidings_core::{
    Epoch, Event, Grant, Job, JobId, JobType, KeyId, Seq, Subject, TenantId, Timestamp, UserId,
    job::StateName,
};

/// How far a store's schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The newest step that was taken; 0 where there is no schema yet.
    pub found: u32,
    /// The newest step that this release knows.
    pub known: u32,
}

/// Where a tenant's log begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    pub epoch: Epoch,
    /// The newest seq; 0 in an empty log.
    pub head: Seq,
    /// The oldest seq that is kept; `head + 1` where none is. A cursor below `oldest − 1` has expired.
    pub oldest: Seq,
}

/// How much one read may return: whichever is reached first, but at least one event.
#[derive(Debug, Clone, Copy)]
pub struct PageLimit {
    pub events: usize,
    pub bytes: usize,
}

/// Consecutive events after a cursor, unfiltered.
#[derive(Debug, Clone)]
pub struct EventPage {
    pub events: Vec<Event>,
    /// Every event up to this seq has been returned here or before; at least the cursor asked from.
    pub scanned_to: Seq,
    /// As it was in the same read: a cursor behind `log.oldest` has lost events.
    pub log: LogState,
}

#[derive(Debug, Clone, Default)]
pub struct JobQuery {
    pub state: Option<StateName>,
    pub job_type: Option<JobType>,
    pub owner: Option<UserId>,
    pub subject: Option<Subject>,
    /// Newest first: only jobs whose ids are below this one.
    pub before: Option<JobId>,
    /// At most 1,000.
    pub limit: usize,
}

#[derive(Debug, Clone)]
pub struct JobPage {
    pub jobs: Vec<Job>,
    /// Where the next page starts; absent on the last one.
    pub next: Option<JobId>,
}

/// One job type's queue in one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStats {
    pub job_type: JobType,
    pub scheduled: u64,
    pub queued: u64,
    pub running: u64,
    /// When the queued job that has waited longest fell due.
    pub oldest_due: Option<Timestamp>,
    /// Jobs that ended in the last minute.
    pub finished_last_minute: u64,
}

/// How long events are kept: whichever bound is met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub age: Option<Duration>,
    pub events_per_tenant: Option<u64>,
    pub webhooks: WebhookRetention,
}

/// What webhooks keep, and how long they keep others from forgetting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookRetention {
    /// Events that an endpoint has not got are kept for so long beyond the log's own retention.
    pub backlog: Duration,
    /// How long the delivery log is kept.
    pub attempts_age: Option<Duration>,
    /// And how many attempts of one endpoint.
    pub attempts_per_endpoint: u64,
    /// How long a delivery is kept after it was given up.
    pub dead_letters_age: Option<Duration>,
    /// And how many of one endpoint: the oldest go.
    pub dead_letters_per_endpoint: Option<u64>,
}

impl Default for WebhookRetention {
    fn default() -> Self {
        const DAY: Duration = Duration::from_hours(24);
        Self {
            backlog: DAY * 30,
            attempts_age: Some(DAY * 7),
            attempts_per_endpoint: 10_000,
            dead_letters_age: Some(DAY * 30),
            dead_letters_per_endpoint: Some(100_000),
        }
    }
}

impl Retention {
    /// Of the log, with what webhooks keep by themselves.
    pub fn of_log(age: Option<Duration>, events_per_tenant: Option<u64>) -> Self {
        Self { age, events_per_tenant, webhooks: WebhookRetention::default() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantState {
    Active,
    /// Reads and writes are refused; nothing is deleted.
    Suspended,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    pub id: TenantId,
    pub state: TenantState,
    pub log: LogState,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    pub id: KeyId,
    pub name: String,
    pub hash: [u8; 32],
    pub grant: Grant,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A key, or everything of a tenant, that counts no longer. Numbered in commit order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    Key {
        n: u64,
        id: KeyId,
    },
    /// Suspended or deleted.
    Tenant {
        n: u64,
        id: TenantId,
    },
}
