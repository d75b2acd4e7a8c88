//! Forgetting what webhooks leave, and what a floor does to an endpoint that has not got so far.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, Result, params};
use tidings_core::{
    EventId, Seq,
    webhook::{Gap, gap_event},
};

use super::retain::Budget;
use crate::{
    WebhookRetention,
    sqlite::{
        delivery_row::{self, Owner},
        endpoint_row::{self, EndpointKey, Stored},
        fault::Stop,
        tenant::TenantKey,
        txn::Txn,
    },
};

/// How long a tombstone stays, so that every dispatcher hears of it.
const TOMBSTONE: Duration = Duration::from_hours(1);
/// How many attempts of one endpoint a piece looks at.
const ATTEMPTS_MAX: i64 = 1_000;
/// How many endpoints, and dead letters that are counted, a piece looks at.
const LOOKED_MAX: u64 = 20_000;

const OWNED: [&str; 3] = [
    "DELETE FROM deliveries WHERE (tenant_key, endpoint_key, seq) IN
         (SELECT tenant_key, endpoint_key, seq FROM deliveries WHERE tenant_key = ? AND endpoint_key = ? LIMIT ?)",
    "DELETE FROM replays WHERE (tenant_key, endpoint_key, id) IN
         (SELECT tenant_key, endpoint_key, id FROM replays WHERE tenant_key = ? AND endpoint_key = ? LIMIT ?)",
    "DELETE FROM attempts WHERE (tenant_key, endpoint_key, n) IN
         (SELECT tenant_key, endpoint_key, n FROM attempts WHERE tenant_key = ? AND endpoint_key = ? LIMIT ?)",
];

impl Txn<'_> {
    /// The first seq that an endpoint of the tenant still needs.
    pub(super) fn needed_from(&self, tenant: TenantKey) -> Result<Option<Seq>> {
        self.conn
            .prepare_cached(
                "SELECT min(seq) FROM (
                     SELECT min(cursor) + 1 AS seq FROM endpoints WHERE tenant_key = ?1 AND state < 3
                     UNION ALL SELECT min(seq) FROM deliveries WHERE tenant_key = ?1 AND dead = 0
                     UNION ALL SELECT min(position) + 1 FROM replays WHERE tenant_key = ?1)",
            )?
            .query_row([tenant], |row| {
                Ok(row.get::<_, Option<i64>>(0)?.map(|seq| Seq::new(seq.unsigned_abs())))
            })
    }

    /// Whatever endpoints need before `oldest` is lost to them, and they are told; how many lost something.
    pub(super) fn cut_endpoints(&mut self, tenant: TenantKey, oldest: Seq) -> Result<usize, Stop> {
        let Some(name) = self.memory.tenants.get_by_key(self.conn, tenant)?.map(|t| t.id.clone()) else {
            return Ok(0);
        };
        let mut gaps = 0;
        for Stored { key, endpoint } in endpoint_row::list(self.conn, tenant, &name, None, i64::MAX)? {
            let lost = self.lose_retried(tenant, key, oldest)?;
            let behind = endpoint.gap_before(oldest);
            self.cut_replays(tenant, key, oldest)?;
            let gap = match (lost, behind) {
                (None, None) => continue,
                (Some((from, to)), None) => Gap { endpoint: endpoint.id, from, to },
                (lost, Some(gap)) => {
                    Gap { from: lost.map_or(gap.from, |(from, _)| from.min(gap.from)), ..gap }
                }
            };
            let mut after = endpoint.cut(oldest);
            after.change = endpoint_row::next_change(self.conn)?;
            endpoint_row::update(self.conn, key, &after)?;
            let id = EventId::generate(self.now, self.entropy);
            self.emit(tenant, &name, None, gap_event(gap, id))?;
            gaps += 1;
        }
        Ok(gaps)
    }

    /// Retried deliveries whose event goes and that have no body: the first and the last seq of them.
    fn lose_retried(&self, tenant: TenantKey, key: EndpointKey, oldest: Seq) -> Result<Option<(Seq, Seq)>> {
        let parameters = params![tenant, key, oldest.get() as i64];
        let lost = self
            .conn
            .prepare_cached(
                "SELECT min(seq), max(seq) FROM deliveries
                 WHERE tenant_key = ? AND endpoint_key = ? AND dead = 0 AND seq < ? AND body IS NULL",
            )?
            .query_row(parameters, |row| {
                Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
            })?;
        self.conn
            .prepare_cached(
                "DELETE FROM deliveries
                 WHERE tenant_key = ? AND endpoint_key = ? AND dead = 0 AND seq < ? AND body IS NULL",
            )?
            .execute(params![tenant, key, oldest.get() as i64])?;
        Ok(lost.map(|(first, last)| (Seq::new(first.unsigned_abs()), Seq::new(last.unsigned_abs()))))
    }

    fn cut_replays(&self, tenant: TenantKey, key: EndpointKey, oldest: Seq) -> Result<()> {
        let oldest = oldest.get() as i64;
        self.conn
            .prepare_cached("DELETE FROM replays WHERE tenant_key = ? AND endpoint_key = ? AND to_seq < ?")?
            .execute(params![tenant, key, oldest])?;
        self.conn
            .prepare_cached(
                "UPDATE replays SET position = ?3 - 1
                 WHERE tenant_key = ?1 AND endpoint_key = ?2 AND position < ?3 - 1",
            )?
            .execute(params![tenant, key, oldest])?;
        Ok(())
    }

    /// The delivery log is kept by age and by count of each endpoint.
    pub(super) fn forget_attempts(
        &mut self,
        tenant: TenantKey,
        retention: WebhookRetention,
        budget: &mut Budget,
    ) -> Result<()> {
        let endpoints: Vec<(EndpointKey, i64)> = self
            .conn
            .prepare_cached("SELECT key, attempts FROM endpoints WHERE tenant_key = ? AND state < 3")?
            .query_map([tenant], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_>>()?;
        let most = i64::try_from(retention.attempts_per_endpoint).unwrap_or(i64::MAX);
        let cutoff = retention.attempts_age.map_or(i64::MIN, |age| (self.now - age).as_micros());
        for (key, logged) in endpoints {
            let rows = self
                .conn
                .prepare_cached(
                    "DELETE FROM attempts WHERE (tenant_key, endpoint_key, n) IN
                         (SELECT tenant_key, endpoint_key, n FROM
                             (SELECT * FROM attempts WHERE tenant_key = ? AND endpoint_key = ? ORDER BY n LIMIT ?)
                          WHERE n <= ? OR at < ?)",
                )?
                .execute(params![
                    tenant,
                    key,
                    ATTEMPTS_MAX.min(budget.left as i64),
                    logged.saturating_sub(most),
                    cutoff,
                ])?;
            budget.spend(rows);
        }
        Ok(())
    }

    /// Dead letters are kept by age and by count of each endpoint, the oldest going first. Goes on where the last piece ended;
    /// whether there are more endpoints.
    pub(super) fn forget_dead_letters(
        &mut self,
        retention: WebhookRetention,
        budget: &mut Budget,
    ) -> Result<bool> {
        let mut looked = 0;
        while budget.left > 0 && looked < LOOKED_MAX {
            let after = self.memory.retained_endpoint.unwrap_or_default();
            let next: Option<Owner> = self
                .conn
                .prepare_cached(
                    "SELECT tenant_key, key FROM endpoints WHERE key > ? AND state < 3 ORDER BY key LIMIT 1",
                )?
                .query_row([after], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some(owner) = next else {
                self.memory.retained_endpoint = None;
                return Ok(false);
            };
            let (last, steps) = self.last_dead_letter_to_go(owner, retention)?;
            looked += 1 + steps;
            if let Some(last) = last {
                let rows = delivery_row::forget_dead(self.conn, owner, last, budget.left as i64)?;
                budget.spend(rows);
                budget.dead_letters += rows;
            }
            if budget.left > 0 {
                self.memory.retained_endpoint = Some(owner.1);
            }
        }
        Ok(true)
    }

    /// By when it died and its seq; and how many rows it took to find it.
    fn last_dead_letter_to_go(
        &self,
        owner: Owner,
        retention: WebhookRetention,
    ) -> Result<(Option<(i64, i64)>, u64)> {
        let by_age = retention.dead_letters_age.map(|age| ((self.now - age).as_micros() - 1, i64::MAX));
        let Some(most) = retention.dead_letters_per_endpoint else { return Ok((by_age, 0)) };
        if delivery_row::dead_span(self.conn, owner)? <= most {
            return Ok((by_age, 0));
        }
        Ok((by_age.max(delivery_row::dead_after_newest(self.conn, owner, most)?), most))
    }

    /// What deleted endpoints left, and then their tombstones.
    pub(super) fn purge_endpoints(&mut self, budget: &mut Budget) -> Result<()> {
        while budget.left > 0 {
            let next: Option<(TenantKey, EndpointKey)> = self
                .conn
                .prepare_cached(
                    "SELECT tenant_key, key FROM endpoints WHERE state = 3 AND since <= ? ORDER BY key LIMIT 1",
                )?
                .query_row([(self.now - TOMBSTONE).as_micros()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((tenant, key)) = next else { return Ok(()) };
            for sql in OWNED {
                let rows =
                    self.conn.prepare_cached(sql)?.execute(params![tenant, key, budget.left as i64])?;
                budget.spend(rows);
            }
            if budget.left > 0 {
                self.conn.prepare_cached("DELETE FROM endpoints WHERE key = ?")?.execute([key])?;
            }
        }
        Ok(())
    }
}
