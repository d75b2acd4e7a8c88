//! What workers report under their leases, and what users do to one job.

use tidings_core::{JobId, TenantId, job::Step};

use crate::{
    Operation, Outcome,
    sqlite::{
        fault::Stop,
        job_row::{self, Before, Stored},
        txn::Txn,
    },
    transition,
};

impl Txn<'_> {
    /// Loads a job, changes it and writes it back with its events.
    pub(super) fn change(
        &mut self,
        tenant: &TenantId,
        create: bool,
        job: JobId,
        operation: &Operation,
    ) -> Result<Outcome, Stop> {
        let key = self.existing(tenant, create)?;
        let Stored { key: job_key, job } = self.find_job(key, tenant, job)?;
        let before = Before::of(&job);
        let step = transition::apply(operation, job, self.moment())?;
        let job = if matches!(operation, Operation::Progress { .. }) {
            let Step { mut job, events } = step;
            for fact in events {
                job.seq = self.emit(key, tenant, Some(job_key), fact)?.0;
            }
            job_row::update_progress(self.conn, job_key, before, &job)?;
            job
        } else {
            self.write_step(key, job_key, before, step)?
        };
        Ok(Outcome::Job(Box::new(job)))
    }
}
