use rusqlite::params;

use crate::{
    Swept,
    sqlite::{
        fault::Stop,
        job_row::{self, Before, JobKey},
        tenant::TenantKey,
        txn::Txn,
    },
};

impl Txn<'_> {
    /// Expires leases whose time has passed, the oldest first.
    pub(super) fn rescue(&mut self, limit: usize) -> Result<Swept, Stop> {
        let expired: Vec<(JobKey, TenantKey)> = self
            .conn
            .prepare_cached(
                "SELECT key, tenant_key FROM jobs WHERE state = 2 AND lease_expires_at <= ?
                 ORDER BY lease_expires_at LIMIT ?",
            )?
            .query_map(params![self.now.as_micros(), limit as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (key, tenant) in &expired {
            self.rescue_one(*key, *tenant)?;
        }
        Ok(Swept { rows: expired.len(), more: expired.len() == limit, ..Swept::default() })
    }

    fn rescue_one(&mut self, key: JobKey, tenant: TenantKey) -> Result<(), Stop> {
        let Some(name) = self.memory.tenants.get_by_key(self.conn, tenant)?.map(|t| t.id.clone()) else {
            // Of a deleted tenant: nobody is told.
            self.conn.prepare_cached("DELETE FROM jobs WHERE key = ?")?.execute([key])?;
            return Ok(());
        };
        let Some(found) = job_row::find_by_key(self.conn, key, &name)? else { return Ok(()) };
        let before = Before::of(&found.job);
        let step = found.job.expire(self.moment())?;
        self.write_step(tenant, key, before, step)?;
        Ok(())
    }
}
