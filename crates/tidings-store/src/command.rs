//! What may be asked of the log, and what it answers.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    Endpoint, EndpointId, Epoch, Event, EventId, Grant, Job, JobId, JobType, KeyId, NewEvent, NewJob,
    RawJson, Schedule, ScheduleId, ScheduleSpec, Seq, TenantId, Tenants, Timestamp, UserId, WorkerName,
    job::{FailOptions, LeaseNo, Progress},
};

use crate::{CommandError, EndpointChange, NewEndpoint, ReplayWhat, Report, Retention, TenantState};

/// Commands that one transaction commits, in this order. No two of one batch concern the same job or
/// the same key: the [`Journal`](crate::Journal) sees to that.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub commands: Vec<Command>,
}

/// One change. It fails alone: what it may not do harms no other command of its batch.
#[derive(Debug, Clone)]
pub enum Command {
    /// A change in one tenant. A tenant that does not exist is made first where `create` says so.
    Tenant {
        tenant: TenantId,
        create: bool,
        operation: Operation,
    },
    /// The one command that takes a set of tenants.
    Claim(Claim),
    /// An operator's key: it belongs to no tenant.
    PutOperatorKey(NewKey),
    RevokeOperatorKey(KeyId),
    /// Bounded housekeeping of all tenants.
    Maintain(Maintain),
}

impl Command {
    /// The one tenant that it concerns.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Tenant { tenant, .. } | Self::Claim(Claim { tenants: Tenants::One(tenant), .. }) => {
                Some(tenant)
            }
            Self::Claim(_) | Self::PutOperatorKey(_) | Self::RevokeOperatorKey(_) | Self::Maintain(_) => None,
        }
    }

    pub(crate) const fn is_report(&self) -> bool {
        matches!(self, Self::Tenant { operation: Operation::Report(_), .. })
    }
}

#[derive(Debug, Clone)]
pub enum Operation {
    /// All of them or, where one is refused, none.
    Enqueue {
        jobs: Vec<NewJob>,
        idempotency: Option<Idempotency>,
    },
    /// One job, due at once, that `worker` has from the same commit on: no claim comes before it. Answered
    /// like a claim; refused where a live job holds its unique key.
    EnqueueLeased {
        job: NewJob,
        worker: WorkerName,
        length: Duration,
    },
    /// All of them with consecutive seqs.
    Publish {
        events: Vec<NewEvent>,
        idempotency: Option<Idempotency>,
    },
    Heartbeat {
        job: JobId,
        lease_no: LeaseNo,
        length: Duration,
    },
    Progress {
        job: JobId,
        lease_no: LeaseNo,
        progress: Progress,
    },
    /// `pending` is progress that was coalesced and goes before the terminal event.
    Complete {
        job: JobId,
        lease_no: LeaseNo,
        result: Option<RawJson>,
        pending: Option<Progress>,
    },
    Fail {
        job: JobId,
        lease_no: LeaseNo,
        options: FailOptions,
        pending: Option<Progress>,
    },
    Release {
        job: JobId,
        lease_no: LeaseNo,
    },
    Cancel {
        job: JobId,
    },
    /// A new job `id` that does the terminal job `job` again.
    Retry {
        job: JobId,
        id: JobId,
        idempotency: Option<Idempotency>,
    },
    /// A new schedule `id`, or with `replaces` something else for that one of the same name to do. A name is
    /// another's ([`CommandError::NameTaken`]) unless it is the replaced one's; beyond [`SCHEDULES_MAX`] it is
    /// [`CommandError::TooMany`].
    PutSchedule {
        id: ScheduleId,
        spec: Box<ScheduleSpec>,
        replaces: Option<ScheduleId>,
    },
    PauseSchedule(ScheduleId),
    ResumeSchedule(ScheduleId),
    /// Jobs that it enqueued stay.
    DeleteSchedule(ScheduleId),
    PutEndpoint(Box<NewEndpoint>),
    ChangeEndpoint {
        id: EndpointId,
        change: EndpointChange,
    },
    DeleteEndpoint(EndpointId),
    /// Pauses the active endpoints that carry this user's grant.
    PauseEndpointsOf(UserId),
    /// Sends an endpoint again what it had, or should have had.
    Replay {
        endpoint: EndpointId,
        what: ReplayWhat,
    },
    /// What a dispatcher has to say of one endpoint.
    Report(Box<Report>),
    /// Makes the tenant where `create` allows it; nothing else.
    Ensure,
    /// Explicitly, by an operator. An existing tenant is returned as it is.
    Create,
    SetState(TenantState),
    /// Events, jobs, keys and history go; a tombstone stays, so that made again it has another epoch.
    Delete,
    /// Gives the tenant's history a new name, after a restore.
    RenewEpoch,
    PutKey(NewKey),
    RevokeKey(KeyId),
    /// Takes a single-use ticket's id; the second time it is [`CommandError::AlreadyUsed`].
    RedeemTicket {
        id: [u8; 16],
        expires_at: Timestamp,
    },
}

/// Takes due jobs: fairly between tenants, by priority and then age within one.
#[derive(Debug, Clone)]
pub struct Claim {
    pub tenants: Tenants,
    pub worker: WorkerName,
    /// At least one.
    pub types: Vec<JobType>,
    pub max: usize,
    /// How long each lease holds without a heartbeat.
    pub length: Duration,
}

/// Housekeeping, a bounded piece of each kind at a time.
#[derive(Debug, Clone)]
pub enum Maintain {
    /// Expires leases whose time has passed; at most `limit`.
    Rescue { limit: usize },
    /// Fires what is due of active tenants, the longest due first: each schedule's job, its `job.queued` and its
    /// next fire time in one. At most `limit` schedules. A fire time whose job is there is not fired again.
    Fire { limit: usize },
    /// Moves the floor of each tenant's log by age and count and deletes at most `limit` rows below
    /// floors, with what else has expired (idempotency keys, redeemed tickets, finished jobs).
    Retain { retention: Retention, limit: usize },
    /// Moves at most `limit` rows of the outbox into the log, where the store has one; makes their tenants where
    /// `create` says so.
    MoveOutbox { limit: usize, create: bool },
}

/// How many schedules a tenant may have.
pub const SCHEDULES_MAX: usize = 1_000;

/// A repeat with the same body returns the first outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The route, so that a key means one thing in one place.
    pub route: Arc<str>,
    pub key: Arc<str>,
    /// SHA-256 of the request's body.
    pub body_hash: [u8; 32],
}

/// An API key as it is stored: never its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    pub id: KeyId,
    pub name: String,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    pub grant: Grant,
    pub expires_at: Option<Timestamp>,
}

/// The answer to a command that succeeded.
#[derive(Debug, Clone)]
pub enum Outcome {
    Enqueued(Vec<Enqueued>),
    Published(Vec<Published>),
    /// The job after the change.
    Job(Box<Job>),
    /// The schedule after the change.
    Schedule(Box<Schedule>),
    Claimed(Claimed),
    Swept(Swept),
    /// The endpoint after the change.
    Endpoint(Box<Endpoint>),
    /// How many deliveries or events are sent again; `more`: ask again for the rest.
    Replaying {
        deliveries: usize,
        more: bool,
    },
    /// How many endpoints were paused.
    Paused(usize),
    /// `current`: the endpoint was in the report's generation, and all of it was done.
    Reported {
        current: bool,
    },
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueued {
    pub id: JobId,
    /// [`Job::to_json`] as it was at the commit, so that a repeat answers the same.
    pub job: RawJson,
    /// `false` where a live job held the unique key, or the whole answer is a repeat.
    pub created: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub seq: Seq,
    pub id: EventId,
    pub time: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Claimed {
    pub leases: Vec<Leased>,
    /// When the next job of these types and tenants falls due, where fewer than `max` were due now.
    pub next_due: Option<Timestamp>,
}

/// A job with its fresh lease: `job.state` is running and `job.lease_no` is the fence.
#[derive(Debug, Clone)]
pub struct Leased {
    pub job: Job,
}

/// What one piece of housekeeping did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    pub rows: usize,
    /// Whether the limit cut it short.
    pub more: bool,
    /// Ranges of the log that were lost to webhook endpoints, each of which `webhook.gap` tells.
    pub gaps: usize,
    /// Dead letters that were too old or too many.
    pub dead_letters: usize,
}

/// A batch that is on stable storage.
#[derive(Debug)]
pub struct Committed {
    /// One for each command, in order.
    pub outcomes: Vec<Result<Outcome, CommandError>>,
    /// Every event of the batch; each tenant's in the order of its seqs.
    pub events: Vec<Arc<Event>>,
    /// The histories that they went into: each tenant of `events` once, unless it was deleted in the same
    /// batch.
    pub epochs: Vec<(TenantId, Epoch)>,
}
