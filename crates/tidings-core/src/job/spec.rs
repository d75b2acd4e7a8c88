use crate::{JobId, JobType, RawJson, Subject, Timestamp, UniqueKey, UserId};

use super::Backoff;

/// What a job is: fixed when it is enqueued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSpec {
    pub job_type: JobType,
    pub payload: RawJson,
    pub owner: Option<UserId>,
    pub subject: Option<Subject>,
    /// Higher is leased first, within its tenant.
    pub priority: i16,
    /// Held until the job is terminal; per tenant and type.
    pub unique_key: Option<UniqueKey>,
    pub max_attempts: u32,
    pub backoff: Backoff,
    /// The terminal job that this one runs again.
    pub retry_of: Option<JobId>,
}

/// A job to be enqueued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    pub id: JobId,
    pub spec: JobSpec,
    /// Not before then; at once where absent or past.
    pub run_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    #[error("priority is a whole number from -1000 to 1000")]
    Priority,
    #[error("max_attempts is a whole number from 1 to 100")]
    MaxAttempts,
    #[error("backoff's base is from 1ms to its max, and its max at most 30d")]
    Backoff,
}

impl SpecError {
    /// The field that it is about.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::MaxAttempts => "max_attempts",
            Self::Backoff => "backoff",
        }
    }
}

impl JobSpec {
    pub const MAX_ATTEMPTS_DEFAULT: u32 = 5;

    pub fn new(job_type: JobType, payload: RawJson) -> Self {
        Self {
            job_type,
            payload,
            owner: None,
            subject: None,
            priority: 0,
            unique_key: None,
            max_attempts: Self::MAX_ATTEMPTS_DEFAULT,
            backoff: Backoff::default(),
            retry_of: None,
        }
    }

    pub fn validate(&self) -> Result<(), SpecError> {
        if !(-1_000..=1_000).contains(&self.priority) {
            return Err(SpecError::Priority);
        }
        if !(1..=100).contains(&self.max_attempts) {
            return Err(SpecError::MaxAttempts);
        }
        let Backoff { base, max } = self.backoff;
        if base.as_millis() == 0 || base > max || max > Backoff::MAX {
            return Err(SpecError::Backoff);
        }
        Ok(())
    }
}
