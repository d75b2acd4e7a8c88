use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::{Job, JobId, NewJob, RawJson, TenantId, WorkerName, job::Refused};

use crate::{
    Claimed, CommandError, Enqueued, Idempotency, Leased, Outcome,
    sqlite::{
        fault::Stop,
        job_row::{self, Before},
        tenant::TenantKey,
        txn::Txn,
    },
};

/// What of an answer is kept under its idempotency key.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: JobId,
    job: RawJson,
}

impl Txn<'_> {
    pub(super) fn enqueue(
        &mut self,
        tenant: &TenantId,
        create: bool,
        jobs: &[NewJob],
        idempotency: Option<&Idempotency>,
    ) -> Result<Outcome, Stop> {
        let key = self.writable(tenant, create)?;
        if let Some(repeat) = self.repeated_enqueue(key, idempotency)? {
            return Ok(repeat);
        }
        let mut enqueued = Vec::with_capacity(jobs.len());
        for new in jobs {
            enqueued.push(self.enqueue_one(key, tenant, new)?);
        }
        self.finish_enqueue(key, idempotency, enqueued)
    }

    /// A new job that its maker has at once, unless as many of its type run as may.
    pub(super) fn enqueue_leased(
        &mut self,
        tenant: &TenantId,
        create: bool,
        new: &NewJob,
        worker: &WorkerName,
        length: Duration,
    ) -> Result<Outcome, Stop> {
        let key = self.writable(tenant, create)?;
        let job_type = &new.spec.job_type;
        let most = self.memory.limits.get(job_type).copied();
        if let Some(most) = most
            && self.running(key, job_type)? >= most
        {
            return Err(CommandError::Refused(Refused::Limited).into());
        }
        let due = NewJob { run_at: None, ..new.clone() };
        if !self.enqueue_one(key, tenant, &due)?.created {
            return Err(CommandError::Refused(Refused::NotDue).into());
        }
        let stored = self.find_job(key, tenant, new.id)?;
        let before = Before::of(&stored.job);
        let step = stored.job.lease(worker.clone(), length, self.moment())?;
        let job = self.write_step(key, stored.key, before, step)?;
        Ok(Outcome::Claimed(Claimed { leases: vec![Leased { job }], next_due: None }))
    }

    /// A new job that does a terminal one's work again.
    pub(super) fn retry(
        &mut self,
        tenant: &TenantId,
        create: bool,
        job: JobId,
        id: JobId,
        idempotency: Option<&Idempotency>,
    ) -> Result<Outcome, Stop> {
        let key = self.existing(tenant, create)?;
        if let Some(repeat) = self.repeated_enqueue(key, idempotency)? {
            return Ok(repeat);
        }
        let new = self.find_job(key, tenant, job)?.job.retry(id)?;
        let enqueued = vec![self.enqueue_one(key, tenant, &new)?];
        self.finish_enqueue(key, idempotency, enqueued)
    }

    pub(super) fn enqueue_one(
        &mut self,
        key: TenantKey,
        tenant: &TenantId,
        new: &NewJob,
    ) -> Result<Enqueued, Stop> {
        if let Some(unique_key) = &new.spec.unique_key
            && let Some(held) = job_row::find_unique(self.conn, key, tenant, &new.spec.job_type, unique_key)?
        {
            return Ok(answer(&held.job, false));
        }
        let step = Job::enqueue(tenant.clone(), new.clone(), self.moment());
        let job = self.insert_job(key, step)?;
        Ok(answer(&job, true))
    }

    fn repeated_enqueue(
        &mut self,
        key: TenantKey,
        idempotency: Option<&Idempotency>,
    ) -> Result<Option<Outcome>, Stop> {
        let kept: Option<Vec<Kept>> = self.repeated(key, idempotency)?;
        Ok(kept.map(|kept| {
            Outcome::Enqueued(
                kept.into_iter().map(|Kept { id, job }| Enqueued { id, job, created: false }).collect(),
            )
        }))
    }

    fn finish_enqueue(
        &mut self,
        key: TenantKey,
        idempotency: Option<&Idempotency>,
        enqueued: Vec<Enqueued>,
    ) -> Result<Outcome, Stop> {
        if idempotency.is_some() {
            let kept: Vec<_> = enqueued.iter().map(|e| Kept { id: e.id, job: e.job.clone() }).collect();
            self.remember_outcome(key, idempotency, &kept)?;
        }
        Ok(Outcome::Enqueued(enqueued))
    }
}

fn answer(job: &Job, created: bool) -> Enqueued {
    Enqueued { id: job.id, job: job.to_json(false), created }
}
