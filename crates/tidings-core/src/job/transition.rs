use std::time::Duration;

use crate::{
    Category, Entropy, EventId, Failure, Job, JobId, NewEvent, RawJson, Seq, TenantId, Timestamp, WorkerName,
};

use super::{
    JobState, Lease, LeaseNo, NewJob, Progress, Report,
    events::{self, Scheduled},
};

/// When a transition happens, and the randomness it may use. Time is the store's.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub now: Timestamp,
    pub entropy: &'a dyn Entropy,
}

impl std::fmt::Debug for Moment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moment").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Moment<'_> {
    pub(super) fn event_id(&self) -> EventId {
        EventId::generate(self.now, self.entropy)
    }
}

/// What a transition yields: to be committed together, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub job: Job,
    /// In order; empty where nothing is told.
    pub events: Vec<NewEvent>,
}

/// Why a transition may not happen. Nothing has changed.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// The lease expired, was given back, or another one has followed it.
    #[error("the lease is lost: another worker may have the job")]
    LeaseLost,
    #[error("the job is finished")]
    Finished,
    #[error("the job is not finished")]
    NotFinished,
    /// The job cannot be leased now.
    #[error("the job is not due")]
    NotDue,
    /// As many jobs of its type run in the tenant as may.
    #[error("as many jobs of this type are running as may")]
    Limited,
}

/// How a worker wants its failure taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailOptions {
    pub failure: Failure,
    /// `false`: no further attempt helps.
    pub retryable: bool,
    /// Instead of the backoff's delay.
    pub retry_in: Option<Duration>,
}

impl Job {
    /// A new job with its first event.
    pub fn enqueue(tenant: TenantId, new: NewJob, at: Moment<'_>) -> Step {
        let run_at = new.run_at.unwrap_or(at.now).max(at.now);
        let due = run_at <= at.now;
        let state = if due { JobState::Queued { run_at } } else { JobState::Scheduled { run_at } };
        let job = Self {
            id: new.id,
            tenant,
            spec: new.spec,
            state,
            attempt: 0,
            lease_no: 0,
            reported: None,
            progress: None,
            failure: None,
            created_at: at.now,
            started_at: None,
            seq: Seq::ZERO,
        };
        let event = if due {
            events::queued(&job, run_at, at)
        } else {
            events::scheduled(&job, run_at, Scheduled::Enqueued, at)
        };
        Step { job, events: vec![event] }
    }

    /// Gives the job to `worker` for `length`.
    pub fn lease(mut self, worker: WorkerName, length: Duration, at: Moment<'_>) -> Result<Step, Refused> {
        let due = match &self.state {
            JobState::Queued { .. } => true,
            JobState::Scheduled { run_at } => *run_at <= at.now,
            _ => false,
        };
        if !due {
            return Err(Refused::NotDue);
        }
        self.attempt += 1;
        self.lease_no += 1;
        self.progress = None;
        self.started_at.get_or_insert(at.now);
        let event = events::started(&self, &worker, at);
        self.state = JobState::Running {
            lease: Lease { worker, expires_at: at.now + length },
            cancel_requested: false,
        };
        Ok(Step { job: self, events: vec![event] })
    }

    /// Extends a lease; the answer says whether the job is to be cancelled.
    pub fn heartbeat(mut self, lease_no: LeaseNo, length: Duration, at: Moment<'_>) -> Result<Step, Refused> {
        let (lease, _) = self.held(lease_no, at.now)?;
        lease.expires_at = lease.expires_at.max(at.now + length);
        Ok(Step { job: self, events: Vec::new() })
    }

    pub fn progress(
        mut self,
        lease_no: LeaseNo,
        progress: Progress,
        at: Moment<'_>,
    ) -> Result<Step, Refused> {
        self.held(lease_no, at.now)?;
        let event = events::progress(&self, &progress, at);
        self.progress = Some(progress);
        Ok(Step { job: self, events: vec![event] })
    }

    /// Ends the job well. It wins over a cancellation that was only asked for.
    pub fn complete(
        mut self,
        lease_no: LeaseNo,
        result: Option<RawJson>,
        at: Moment<'_>,
    ) -> Result<Step, Refused> {
        if self.reported == Some((lease_no, Report::Complete)) {
            return Ok(Step { job: self, events: Vec::new() });
        }
        self.held(lease_no, at.now)?;
        let event = events::completed(&self, result.as_ref(), at);
        self.reported = Some((lease_no, Report::Complete));
        self.state = JobState::Completed { finished_at: at.now, result };
        Ok(Step { job: self, events: vec![event] })
    }

    /// Ends the attempt badly: another one follows where that may help and one is left.
    pub fn fail(mut self, lease_no: LeaseNo, options: FailOptions, at: Moment<'_>) -> Result<Step, Refused> {
        if self.reported == Some((lease_no, Report::Fail)) {
            return Ok(Step { job: self, events: Vec::new() });
        }
        let (_, cancel_requested) = self.held(lease_no, at.now)?;
        self.reported = Some((lease_no, Report::Fail));
        let delay =
            options.retry_in.unwrap_or_else(|| self.spec.backoff.delay(self.attempt, at.entropy.unit()));
        Ok(self.end_attempt(options.failure, options.retryable, delay, cancel_requested, at))
    }

    /// Takes a lease away whose time has passed. Whoever holds it is refused from then on.
    pub fn expire(self, at: Moment<'_>) -> Result<Step, Refused> {
        match &self.state {
            JobState::Running { lease, cancel_requested } if lease.expires_at <= at.now => {
                let cancel_requested = *cancel_requested;
                let failure = Failure::new(Category::Timeout, "the worker stopped sending heartbeats");
                Ok(self.end_attempt(failure, true, Duration::ZERO, cancel_requested, at))
            }
            _ => Err(Refused::NotDue),
        }
    }

    /// Gives a lease back without spending an attempt.
    pub fn release(mut self, lease_no: LeaseNo, at: Moment<'_>) -> Result<Step, Refused> {
        let (_, cancel_requested) = self.held(lease_no, at.now)?;
        self.attempt = self.attempt.saturating_sub(1);
        if cancel_requested {
            return Ok(self.into_cancelled(at));
        }
        self.state = JobState::Scheduled { run_at: at.now };
        let event = events::scheduled(&self, at.now, Scheduled::Released, at);
        Ok(Step { job: self, events: vec![event] })
    }

    /// A waiting job is cancelled at once; a running one's worker is asked to stop.
    pub fn cancel(mut self, at: Moment<'_>) -> Result<Step, Refused> {
        match &mut self.state {
            JobState::Scheduled { .. } | JobState::Queued { .. } => Ok(self.into_cancelled(at)),
            JobState::Running { cancel_requested, .. } => {
                *cancel_requested = true;
                Ok(Step { job: self, events: Vec::new() })
            }
            JobState::Completed { .. } | JobState::Failed { .. } | JobState::Cancelled { .. } => {
                Err(Refused::Finished)
            }
        }
    }

    /// A new job that does a terminal one's work again.
    pub fn retry(&self, id: JobId) -> Result<NewJob, Refused> {
        if !self.state.is_terminal() {
            return Err(Refused::NotFinished);
        }
        let mut spec = self.spec.clone();
        spec.retry_of = Some(self.id);
        Ok(NewJob { id, spec, run_at: None })
    }

    /// The lease `lease_no`, where it is the current one and has not expired.
    fn held(&mut self, lease_no: LeaseNo, now: Timestamp) -> Result<(&mut Lease, bool), Refused> {
        match &mut self.state {
            JobState::Running { lease, cancel_requested }
                if self.lease_no == lease_no && now < lease.expires_at =>
            {
                Ok((lease, *cancel_requested))
            }
            _ => Err(Refused::LeaseLost),
        }
    }

    fn end_attempt(
        mut self,
        failure: Failure,
        retryable: bool,
        delay: Duration,
        cancel_requested: bool,
        at: Moment<'_>,
    ) -> Step {
        if cancel_requested {
            self.failure = Some(failure);
            return self.into_cancelled(at);
        }
        let event = if retryable && self.attempt < self.spec.max_attempts {
            let run_at = at.now + delay;
            self.state = JobState::Scheduled { run_at };
            events::retrying(&self, &failure, run_at, at)
        } else {
            self.state = JobState::Failed { finished_at: at.now };
            events::failed(&self, &failure, at)
        };
        self.failure = Some(failure);
        Step { job: self, events: vec![event] }
    }

    fn into_cancelled(mut self, at: Moment<'_>) -> Step {
        self.state = JobState::Cancelled { finished_at: at.now };
        let event = events::cancelled(&self, at);
        Step { job: self, events: vec![event] }
    }
}
