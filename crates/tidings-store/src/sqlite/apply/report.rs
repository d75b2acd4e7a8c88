//! What workers report under their leases, and what users do to one job.

use std::time::Duration;

use tidings_core::{
    Job, JobId, RawJson, TenantId,
    job::{FailOptions, LeaseNo, Moment, Progress, Refused, Report, Step},
};

use crate::{
    Outcome,
    sqlite::{
        fault::Stop,
        job_row::{self, Before, Stored},
        txn::Txn,
    },
};

impl Txn<'_> {
    pub(super) fn heartbeat(
        &mut self,
        tenant: &TenantId,
        create: bool,
        job: JobId,
        lease_no: LeaseNo,
        length: Duration,
    ) -> Result<Outcome, Stop> {
        self.transition(tenant, create, job, |job, at| job.heartbeat(lease_no, length, at))
    }

    pub(super) fn progress(
        &mut self,
        tenant: &TenantId,
        create: bool,
        job: JobId,
        lease_no: LeaseNo,
        progress: Progress,
    ) -> Result<Outcome, Stop> {
        let key = self.existing(tenant, create)?;
        let Stored { key: job_key, job } = self.find_job(key, tenant, job)?;
        let before = Before::of(&job);
        let Step { mut job, events } = job.progress(lease_no, progress, self.moment())?;
        for fact in events {
            job.seq = self.emit(key, tenant, Some(job_key), fact)?.0;
        }
        job_row::update_progress(self.conn, job_key, before, &job)?;
        Ok(Outcome::Job(Box::new(job)))
    }

    pub(super) fn complete(
        &mut self,
        tenant: &TenantId,
        create: bool,
        job: JobId,
        lease_no: LeaseNo,
        result: Option<RawJson>,
        pending: Option<Progress>,
    ) -> Result<Outcome, Stop> {
        self.transition(tenant, create, job, |job, at| {
            let pending = pending.filter(|_| job.reported != Some((lease_no, Report::Complete)));
            after_progress(job, lease_no, pending, at, |job| job.complete(lease_no, result, at))
        })
    }

    pub(super) fn fail(
        &mut self,
        tenant: &TenantId,
        create: bool,
        job: JobId,
        lease_no: LeaseNo,
        options: FailOptions,
        pending: Option<Progress>,
    ) -> Result<Outcome, Stop> {
        self.transition(tenant, create, job, |job, at| {
            let pending = pending.filter(|_| job.reported != Some((lease_no, Report::Fail)));
            after_progress(job, lease_no, pending, at, |job| job.fail(lease_no, options, at))
        })
    }

    pub(super) fn release(
        &mut self,
        tenant: &TenantId,
        create: bool,
        job: JobId,
        lease_no: LeaseNo,
    ) -> Result<Outcome, Stop> {
        self.transition(tenant, create, job, |job, at| job.release(lease_no, at))
    }

    pub(super) fn cancel(&mut self, tenant: &TenantId, create: bool, job: JobId) -> Result<Outcome, Stop> {
        self.transition(tenant, create, job, Job::cancel)
    }

    /// Loads a job, changes it and writes it back with its events.
    fn transition(
        &mut self,
        tenant: &TenantId,
        create: bool,
        job: JobId,
        change: impl FnOnce(Job, Moment<'_>) -> Result<Step, Refused>,
    ) -> Result<Outcome, Stop> {
        let key = self.existing(tenant, create)?;
        let Stored { key: job_key, job } = self.find_job(key, tenant, job)?;
        let before = Before::of(&job);
        let step = change(job, self.moment())?;
        let job = self.write_step(key, job_key, before, step)?;
        Ok(Outcome::Job(Box::new(job)))
    }
}

/// Puts progress that was still waiting before the event that ends the attempt.
fn after_progress(
    job: Job,
    lease_no: LeaseNo,
    pending: Option<Progress>,
    at: Moment<'_>,
    end: impl FnOnce(Job) -> Result<Step, Refused>,
) -> Result<Step, Refused> {
    let Some(pending) = pending else { return end(job) };
    let Step { job, mut events } = job.progress(lease_no, pending, at)?;
    let step = end(job)?;
    events.extend(step.events);
    Ok(Step { job: step.job, events })
}
