//! Who gets which job: one for each tenant and round, by priority and then age within a tenant.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, Hash as _, Hasher as _},
};

use rusqlite::{OptionalExtension as _, Result, params};
use tidings_core::{JobType, TenantId, Tenants, Timestamp};

use crate::{
    Claim, Claimed, CommandError, Leased, TenantState,
    sqlite::{
        fault::Stop,
        job_row::{self, Before, JobKey},
        tenant::TenantKey,
        txn::Txn,
    },
};

/// How many jobs that fell due one claim marks as such.
const PROMOTED_MAX: usize = 1_000;
/// How many scheduled jobs of other tenants are passed over in search of the next that falls due.
const DUE_SCANNED_MAX: i64 = 256;
/// How many kinds of claims are remembered for their turn.
const ROTATIONS_MAX: usize = 1_024;

/// Whose jobs a claim may take.
enum Reach {
    All,
    /// Sorted.
    These(Vec<TenantKey>),
}

/// One tenant's ready jobs, in their order.
struct Line {
    tenant: TenantKey,
    name: TenantId,
    ready: VecDeque<JobKey>,
    /// The last look found fewer than it asked for.
    exhausted: bool,
}

impl Txn<'_> {
    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Claimed, Stop> {
        let reach = self.reach(&claim.tenants)?;
        self.promote(&claim.types)?;
        let turn = self.turn_of(claim);
        let mut lines = self.lines(claim, &reach, self.memory.rotation.get(&turn).copied().unwrap_or(0))?;
        let chunk = claim.max.div_ceil(lines.len().max(1));
        for line in &mut lines {
            self.refill(line, &claim.types, chunk)?;
        }
        let mut leases = Vec::new();
        let mut served = None;
        while leases.len() < claim.max && !lines.is_empty() {
            for line in &mut lines {
                if leases.len() == claim.max {
                    break;
                }
                if line.ready.is_empty() && !line.exhausted {
                    self.refill(line, &claim.types, chunk)?;
                }
                if let Some(key) = line.ready.pop_front() {
                    leases.push(self.lease(line, key, claim)?);
                    served = Some(line.tenant);
                }
            }
            lines.retain(|line| !(line.ready.is_empty() && line.exhausted));
        }
        if let Some(tenant) = served {
            self.remember_turn(turn, tenant);
        }
        let next_due = if leases.len() < claim.max { self.next_due(&claim.types, &reach)? } else { None };
        Ok(Claimed { leases, next_due })
    }

    fn reach(&mut self, tenants: &Tenants) -> Result<Reach, Stop> {
        let names = match tenants {
            Tenants::All => return Ok(Reach::All),
            Tenants::One(one) => std::slice::from_ref(one),
            Tenants::Set(set) => set,
        };
        let mut keys = Vec::with_capacity(names.len());
        for name in names {
            match self.memory.tenants.get(self.conn, name)? {
                Some(tenant) if tenant.state == TenantState::Active => keys.push(tenant.key),
                Some(_) if names.len() == 1 => return Err(CommandError::TenantSuspended.into()),
                _ => {}
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(Reach::These(keys))
    }

    /// Marks jobs whose time has come. No event tells of it.
    fn promote(&mut self, types: &[JobType]) -> Result<()> {
        let mut due = self.conn.prepare_cached(
            "SELECT key FROM jobs WHERE state = 0 AND job_type = ? AND run_at <= ? ORDER BY run_at LIMIT ?",
        )?;
        let mut left = PROMOTED_MAX;
        for job_type in types {
            let keys: Vec<JobKey> = due
                .query_map(params![job_type.as_str(), self.now.as_micros(), left as i64], |row| row.get(0))?
                .collect::<Result<_>>()?;
            left -= keys.len();
            if !keys.is_empty() {
                let mut promote = self.conn.prepare_cached("UPDATE jobs SET state = 1 WHERE key = ?")?;
                for key in keys {
                    promote.execute([key])?;
                }
            }
        }
        Ok(())
    }

    /// The tenants that have a ready job, from the one after `start` around; at most as many as jobs
    /// are wanted.
    fn lines(&mut self, claim: &Claim, reach: &Reach, start: TenantKey) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        match reach {
            Reach::These(keys) => {
                let split = keys.partition_point(|key| *key <= start);
                for key in keys[split..].iter().chain(&keys[..split]) {
                    if lines.len() == claim.max {
                        break;
                    }
                    lines.extend(self.line(*key, &claim.types)?);
                }
            }
            Reach::All => {
                for (after, last) in [(start, TenantKey::MAX), (0, start)] {
                    let mut after = after;
                    while lines.len() < claim.max
                        && let Some(key) = self.next_tenant(&claim.types, after)?
                        && key <= last
                    {
                        lines.extend(self.line(key, &claim.types)?);
                        after = key;
                    }
                }
            }
        }
        Ok(lines)
    }

    /// A line to fill, where the tenant may be served and has a ready job that its limits admit.
    fn line(&mut self, tenant: TenantKey, types: &[JobType]) -> Result<Option<Line>> {
        let name = match self.memory.tenants.get_by_key(self.conn, tenant)? {
            Some(found) if found.state == TenantState::Active => found.id.clone(),
            _ => return Ok(None),
        };
        let mut line = Line { tenant, name, ready: VecDeque::new(), exhausted: false };
        self.refill(&mut line, types, 1)?;
        Ok(if line.ready.is_empty() { None } else { Some(line) })
    }

    fn next_tenant(&mut self, types: &[JobType], after: TenantKey) -> Result<Option<TenantKey>> {
        let mut next: Option<TenantKey> = None;
        let mut find = self.conn.prepare_cached(
            "SELECT tenant_key FROM jobs WHERE state = 1 AND job_type = ? AND tenant_key > ?
             ORDER BY tenant_key LIMIT 1",
        )?;
        for job_type in types {
            let found = find.query_row(params![job_type.as_str(), after], |row| row.get(0)).optional()?;
            next = next.into_iter().chain(found).min();
        }
        Ok(next)
    }

    /// Looks for the tenant's best ready jobs anew; those leased before are ready no longer.
    fn refill(&mut self, line: &mut Line, types: &[JobType], limit: usize) -> Result<()> {
        let mut found: Vec<(i64, i64, JobKey)> = Vec::new();
        let mut statement = self.conn.prepare_cached(
            "SELECT -priority, run_at, key FROM jobs WHERE state = 1 AND job_type = ? AND tenant_key = ?
             ORDER BY priority DESC, run_at, key LIMIT ?",
        )?;
        for job_type in types {
            let limit = match self.memory.limits.get(job_type).copied() {
                None => limit,
                Some(most) => limit.min(most.saturating_sub(self.running(line.tenant, job_type)?) as usize),
            };
            if limit > 0 {
                let rows = statement
                    .query_map(params![job_type.as_str(), line.tenant, limit as i64], |row| {
                        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                    })?;
                for row in rows {
                    found.push(row?);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        line.exhausted = found.len() < limit;
        line.ready = found.into_iter().take(limit).map(|(_, _, key)| key).collect();
        Ok(())
    }

    fn lease(&mut self, line: &Line, key: JobKey, claim: &Claim) -> Result<Leased, Stop> {
        let found = job_row::find_by_key(self.conn, key, &line.name)?.ok_or(CommandError::NotFound)?;
        let before = Before::of(&found.job);
        let step = found.job.lease(claim.worker.clone(), claim.length, self.moment())?;
        Ok(Leased { job: self.write_step(line.tenant, key, before, step)? })
    }

    /// When the next job falls due; perhaps too early, never too late.
    fn next_due(&mut self, types: &[JobType], reach: &Reach) -> Result<Option<Timestamp>> {
        let mut next: Option<i64> = None;
        let mut statement = self.conn.prepare_cached(
            "SELECT run_at, tenant_key FROM jobs WHERE state = 0 AND job_type = ? ORDER BY run_at LIMIT ?",
        )?;
        for job_type in types {
            let mut rows = statement.query(params![job_type.as_str(), DUE_SCANNED_MAX])?;
            let mut scanned = 0;
            while let Some(row) = rows.next()? {
                scanned += 1;
                let (run_at, tenant): (i64, TenantKey) = (row.get(0)?, row.get(1)?);
                let ours = match reach {
                    Reach::All => true,
                    Reach::These(keys) => keys.binary_search(&tenant).is_ok(),
                };
                if ours || scanned == DUE_SCANNED_MAX {
                    next = Some(next.map_or(run_at, |n| n.min(run_at)));
                    break;
                }
            }
        }
        Ok(next.map(Timestamp::from_micros))
    }

    /// Claims of the same tenants and types take turns among themselves: were there one turn for all,
    /// a claim of few tenants would send the others back to the same place each time.
    fn turn_of(&self, claim: &Claim) -> u64 {
        let mut hasher = self.memory.rotation.hasher().build_hasher();
        claim.types.hash(&mut hasher);
        match &claim.tenants {
            Tenants::All => 0_u8.hash(&mut hasher),
            Tenants::One(one) => one.hash(&mut hasher),
            Tenants::Set(set) => set.hash(&mut hasher),
        }
        hasher.finish()
    }

    fn remember_turn(&mut self, turn: u64, tenant: TenantKey) {
        if self.memory.rotation.len() >= ROTATIONS_MAX {
            self.memory.rotation.clear();
        }
        self.memory.rotation.insert(turn, tenant);
    }
}
