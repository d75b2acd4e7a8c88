//! A job and every change that may happen to it.
//!
//! `scheduled → queued → running → completed | failed | cancelled`; a retry or a lost lease goes back
//! to `scheduled`. Terminal is terminal. Each transition consumes the job and yields a [`Step`]: the
//! next job and the events that commit with it, or [`Refused`].
//!
//! The fence is `lease_no`: it rises with every lease and is never reset, and a report under any other
//! than the current, unexpired one changes nothing. `attempt` only counts.

mod backoff;
mod events;
mod json;
mod spec;
mod state;
mod transition;

pub use backoff::Backoff;
pub use spec::{JobSpec, NewJob, SpecError};
pub use state::{JobState, Lease, LeaseNo, Progress, Report, StateName};
pub use transition::{FailOptions, Moment, Refused, Step};

use crate::{Failure, JobId, JobRef, Seq, TenantId, Timestamp};

/// One piece of work and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub tenant: TenantId,
    pub spec: JobSpec,
    pub state: JobState,
    /// How many leases were spent on it; a release gives one back.
    pub attempt: u32,
    /// The fence; 0 before the first lease.
    pub lease_no: LeaseNo,
    /// The last `complete` or `fail` that counted, so that repeating it returns the first outcome.
    pub reported: Option<(LeaseNo, Report)>,
    pub progress: Option<Progress>,
    /// The newest failure, also while another attempt is due.
    pub failure: Option<Failure>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    /// The seq of this job's newest event.
    pub seq: Seq,
}

impl Job {
    pub fn reference(&self) -> JobRef {
        JobRef { id: self.id, job_type: self.spec.job_type.clone() }
    }
}
