//! Forgetting, a bounded piece at a time: first the floor of a log moves, then the rows below it go.

use rusqlite::{OptionalExtension as _, Result, params};
use tidings_core::{Seq, Timestamp};

use super::idempotency;
use crate::{
    Retention, Swept,
    sqlite::{
        fault::Stop,
        tenant::{PURGED, TenantKey},
        txn::Txn,
    },
};

/// How many tenants one piece looks at.
const TENANTS_MAX: usize = 1_000;

/// What belongs to a tenant and goes with it, with the columns that name a row.
const OWNED: [&str; 10] = [
    "DELETE FROM events WHERE n IN (SELECT n FROM events WHERE tenant_key = ? LIMIT ?)",
    "DELETE FROM jobs WHERE key IN (SELECT key FROM jobs WHERE tenant_key = ? LIMIT ?)",
    "DELETE FROM schedules WHERE key IN (SELECT key FROM schedules WHERE tenant_key = ? LIMIT ?)",
    "DELETE FROM deliveries WHERE (tenant_key, endpoint_key, seq) IN
         (SELECT tenant_key, endpoint_key, seq FROM deliveries WHERE tenant_key = ? LIMIT ?)",
    "DELETE FROM attempts WHERE (tenant_key, endpoint_key, n) IN
         (SELECT tenant_key, endpoint_key, n FROM attempts WHERE tenant_key = ? LIMIT ?)",
    "DELETE FROM replays WHERE (tenant_key, endpoint_key, id) IN
         (SELECT tenant_key, endpoint_key, id FROM replays WHERE tenant_key = ? LIMIT ?)",
    "DELETE FROM endpoints WHERE key IN (SELECT key FROM endpoints WHERE tenant_key = ? LIMIT ?)",
    "DELETE FROM idempotency WHERE (tenant_key, route, key) IN
         (SELECT tenant_key, route, key FROM idempotency WHERE tenant_key = ? LIMIT ?)",
    "DELETE FROM keys WHERE id IN (SELECT id FROM keys WHERE tenant_key = ? LIMIT ?)",
    "DELETE FROM tickets WHERE (tenant_key, id) IN (SELECT tenant_key, id FROM tickets WHERE tenant_key = ? LIMIT ?)",
];

/// How many rows may still go.
pub(super) struct Budget {
    limit: usize,
    pub(super) left: usize,
    gaps: usize,
    pub(super) dead_letters: usize,
}

impl Budget {
    pub(super) fn spend(&mut self, rows: usize) {
        self.left = self.left.saturating_sub(rows);
    }

    fn swept(&self, more: bool) -> Swept {
        Swept { rows: self.limit - self.left, more, gaps: self.gaps, dead_letters: self.dead_letters }
    }
}

impl Txn<'_> {
    /// Goes on where the last piece ended; `more` until every tenant has been looked at, and then every endpoint.
    pub(super) fn retain(&mut self, retention: Retention, limit: usize) -> Result<Swept, Stop> {
        let mut budget = Budget { limit, left: limit, gaps: 0, dead_letters: 0 };
        self.forget_expired(&mut budget)?;
        self.purge_deleted(&mut budget)?;
        self.purge_endpoints(&mut budget)?;
        if self.memory.retained_endpoint.is_none() {
            if self.retain_tenants(retention, &mut budget)? {
                return Ok(budget.swept(true));
            }
            self.memory.retained_endpoint = Some(0);
        }
        let more = self.forget_dead_letters(retention.webhooks, &mut budget)?;
        Ok(budget.swept(more))
    }

    /// Whether there are more tenants.
    fn retain_tenants(&mut self, retention: Retention, budget: &mut Budget) -> Result<bool, Stop> {
        let tenants: Vec<TenantKey> = self
            .conn
            .prepare_cached("SELECT key FROM tenants WHERE key > ? AND state < 2 ORDER BY key LIMIT ?")?
            .query_map(params![self.memory.retained_to, TENANTS_MAX as i64], |row| row.get(0))?
            .collect::<Result<_>>()?;
        for key in &tenants {
            self.move_floor(*key, retention, budget)?;
            self.trim_log(*key, budget)?;
            self.forget_finished(*key, retention, budget)?;
            self.forget_attempts(*key, retention.webhooks, budget)?;
            if budget.left == 0 {
                return Ok(true);
            }
            self.memory.retained_to = *key;
        }
        let more = budget.left == 0 || tenants.len() == TENANTS_MAX;
        if !more {
            self.memory.retained_to = 0;
        }
        Ok(more)
    }

    fn forget_expired(&mut self, budget: &mut Budget) -> Result<()> {
        let keys = self
            .conn
            .prepare_cached(
                "DELETE FROM idempotency WHERE (tenant_key, route, key) IN
                     (SELECT tenant_key, route, key FROM idempotency WHERE created_at <= ? ORDER BY created_at LIMIT ?)",
            )?
            .execute(params![(self.now - idempotency::KEPT).as_micros(), budget.left as i64])?;
        budget.spend(keys);
        let tickets = self
            .conn
            .prepare_cached(
                "DELETE FROM tickets WHERE (tenant_key, id) IN
                     (SELECT tenant_key, id FROM tickets WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)",
            )?
            .execute(params![self.now.as_micros(), budget.left as i64])?;
        budget.spend(tickets);
        Ok(())
    }

    /// Removes what deleted tenants left; the tombstone stays.
    fn purge_deleted(&mut self, budget: &mut Budget) -> Result<()> {
        while budget.left > 0 {
            let key: Option<TenantKey> = self
                .conn
                .prepare_cached("SELECT key FROM tenants WHERE state = 2 ORDER BY key LIMIT 1")?
                .query_row([], |row| row.get(0))
                .optional()?;
            let Some(key) = key else { return Ok(()) };
            for sql in OWNED {
                let rows = self.conn.prepare_cached(sql)?.execute(params![key, budget.left as i64])?;
                budget.spend(rows);
            }
            if budget.left > 0 {
                self.conn
                    .prepare_cached("UPDATE tenants SET state = ? WHERE key = ?")?
                    .execute(params![PURGED, key])?;
            }
        }
        Ok(())
    }

    fn move_floor(&mut self, key: TenantKey, retention: Retention, budget: &mut Budget) -> Result<(), Stop> {
        let Some(tenant) = self.memory.tenants.get_by_key(self.conn, key)? else { return Ok(()) };
        let (oldest, head) = (tenant.oldest, tenant.head);
        let by_count = match retention.events_per_tenant {
            Some(most) => Seq::new(head.get().saturating_sub(most)).next(),
            None => oldest,
        };
        let by_age = match retention.age {
            Some(age) => self.first_since(key, oldest, head, self.now - age)?,
            None => oldest,
        };
        let wanted = oldest.max(by_count).max(by_age);
        let floor = self.spared_for_endpoints(key, (oldest, wanted, head), retention, budget)?;
        if floor > oldest {
            self.memory.tenants.loaded(key).oldest = floor;
            self.conn
                .prepare_cached("UPDATE tenants SET oldest = ? WHERE key = ?")?
                .execute(params![floor.get() as i64, key])?;
        }
        Ok(())
    }

    /// How far the floor may go with what endpoints have not got; whatever of that is too old is cut off.
    fn spared_for_endpoints(
        &mut self,
        key: TenantKey,
        (oldest, wanted, head): (Seq, Seq, Seq),
        retention: Retention,
        budget: &mut Budget,
    ) -> Result<Seq, Stop> {
        let needed = self.needed_from(key)?.filter(|needed| *needed < wanted);
        let Some(needed) = needed else { return Ok(wanted) };
        let limit = self.first_since(key, oldest, head, self.now - retention.webhooks.backlog)?.min(wanted);
        if needed < limit {
            budget.gaps += self.cut_endpoints(key, limit)?;
        }
        Ok(needed.max(limit).max(oldest))
    }

    /// The first seq whose event is not older than `cutoff`; `head + 1` where all are. Times never fall
    /// within a log, so that halving finds it.
    fn first_since(&self, key: TenantKey, oldest: Seq, head: Seq, cutoff: Timestamp) -> Result<Seq> {
        let mut time_of =
            self.conn.prepare_cached("SELECT time FROM events WHERE tenant_key = ? AND seq = ?")?;
        let mut old = |seq: u64| -> Result<bool> {
            let time: Option<i64> =
                time_of.query_row(params![key, seq as i64], |row| row.get(0)).optional()?;
            Ok(time.is_none_or(|time| time < cutoff.as_micros()))
        };
        let (mut low, mut high) = (oldest.get(), head.get() + 1);
        // The usual case: nothing has expired.
        if low < high && !old(low)? {
            return Ok(oldest);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if old(middle)? { low = middle + 1 } else { high = middle }
        }
        Ok(Seq::new(low))
    }

    fn trim_log(&mut self, key: TenantKey, budget: &mut Budget) -> Result<()> {
        let Some(oldest) = self.memory.tenants.get_by_key(self.conn, key)?.map(|t| t.oldest) else {
            return Ok(());
        };
        let rows = self
            .conn
            .prepare_cached(
                "DELETE FROM events WHERE n IN
                     (SELECT n FROM events WHERE tenant_key = ? AND seq < ? ORDER BY seq LIMIT ?)",
            )?
            .execute(params![key, oldest.get() as i64, budget.left as i64])?;
        budget.spend(rows);
        Ok(())
    }

    fn forget_finished(&mut self, key: TenantKey, retention: Retention, budget: &mut Budget) -> Result<()> {
        let Some(age) = retention.age else { return Ok(()) };
        let rows = self
            .conn
            .prepare_cached(
                "DELETE FROM jobs WHERE key IN
                     (SELECT key FROM jobs WHERE state >= 3 AND tenant_key = ? AND finished_at < ?
                      ORDER BY finished_at LIMIT ?)",
            )?
            .execute(params![key, (self.now - age).as_micros(), budget.left as i64])?;
        budget.spend(rows);
        Ok(())
    }
}
