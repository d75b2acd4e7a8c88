use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;
use tidings_core::{
    Job, JobId, JobType, NewJob, TenantId, UniqueKey, WorkerName,
    job::{Refused, Step},
};

use super::{
    super::{
        kept::{KeptJob, kept_jobs},
        look::Found,
        plan::UnitNo,
    },
    answer::{Answer, Entry},
    decide::{Decider, existing},
};
use crate::{CommandError, Enqueued, Idempotency};

impl Decider<'_> {
    pub(super) fn enqueue(
        &mut self,
        unit: UnitNo,
        tenant: &TenantId,
        jobs: &[NewJob],
        idempotency: Option<&Idempotency>,
    ) -> Answer {
        let mut entries = Vec::with_capacity(jobs.len());
        let mut kept = Vec::new();
        // Jobs of the same command hold keys against one another.
        let mut held: HashMap<(JobType, UniqueKey), usize, RandomState> = HashMap::default();
        let first = self.plan.events.len();
        for new in jobs {
            let key = new.spec.unique_key.clone().map(|key| (new.spec.job_type.clone(), key));
            let entry = match key.as_ref().and_then(|key| held.get(key)) {
                Some(place) => Entry::Same(*place),
                None => self.enqueue_one(unit, tenant, new),
            };
            if let Some(key) = key {
                held.entry(key).or_insert(entries.len());
            }
            entries.push(entry);
        }
        if idempotency.is_some() {
            kept.extend(entries.iter().map(|entry| self.kept(entry, &entries, first)));
        }
        self.remember(unit, idempotency, || Some(kept_jobs(&kept)));
        Answer::Enqueued { unit, entries }
    }

    pub(super) fn enqueue_one(&mut self, unit: UnitNo, tenant: &TenantId, new: &NewJob) -> Entry {
        if let Some(holder) = self.holder(tenant, new) {
            return Entry::Held(Enqueued { id: holder.id, job: holder.to_json(false), created: false });
        }
        let step = Job::enqueue(tenant.clone(), new.clone(), self.at);
        Entry::Created(self.plan.step(unit, None, step, None))
    }

    /// The live job that holds a new one's unique key, where it was looked for.
    pub(super) fn holder(&self, tenant: &TenantId, new: &NewJob) -> Option<&Job> {
        let key = new.spec.unique_key.clone()?;
        let seen = self.looked.holders.get(&(tenant.clone(), new.spec.job_type.clone(), key))?;
        Some(&seen.job)
    }

    fn kept(&self, entry: &Entry, entries: &[Entry], first: usize) -> KeptJob {
        match entry {
            Entry::Created(place) => {
                let planned = &self.plan.jobs[*place];
                let nth = (planned.events.end - first) as u64;
                KeptJob { id: planned.job.id, job: planned.job.to_json(false), nth: Some(nth) }
            }
            Entry::Held(held) => KeptJob { id: held.id, job: held.job.clone(), nth: None },
            Entry::Same(place) => self.kept(&entries[*place], entries, first),
        }
    }

    /// A new job that its maker has at once, unless as many of its type run as may.
    pub(super) fn enqueue_leased(
        &mut self,
        tenant: &TenantId,
        create: bool,
        new: &NewJob,
        worker: &WorkerName,
        length: Duration,
    ) -> Result<Answer, CommandError> {
        if self.holder(tenant, new).is_some() {
            return Err(CommandError::Refused(Refused::NotDue));
        }
        let due = NewJob { run_at: None, ..new.clone() };
        let Step { job, mut events } = Job::enqueue(tenant.clone(), due, self.at);
        let started = job.lease(worker.clone(), length, self.at)?;
        events.extend(started.events);
        let unit = self.unit(tenant, create);
        let limit = self.limits.get(&new.spec.job_type).copied();
        let job = self.plan.step(unit, None, Step { job: started.job, events }, limit);
        Ok(Answer::Leased { unit, job })
    }

    /// A new job that does a terminal one's work again.
    pub(super) fn retry(
        &mut self,
        tenant: &TenantId,
        create: bool,
        id: JobId,
        idempotency: Option<&Idempotency>,
        found: Option<Found>,
    ) -> Result<Answer, CommandError> {
        let new = match existing(found, create)? {
            Some(seen) => seen.job.retry(id).map_err(CommandError::from),
            None => Err(CommandError::NotFound),
        };
        match new {
            Ok(new) => {
                let unit = self.unit(tenant, false);
                Ok(self.enqueue(unit, tenant, &[new], idempotency))
            }
            // It may be the repeat of one that was done.
            Err(error) if idempotency.is_some() => {
                let unit = self.unit(tenant, false);
                self.remember(unit, idempotency, || None);
                Ok(Answer::Refused { unit, error })
            }
            Err(error) => Err(error),
        }
    }
}
