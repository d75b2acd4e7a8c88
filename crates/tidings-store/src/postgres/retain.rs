//! Forgetting, a bounded piece at a time: first the floors move, then what lies below them goes, whole days of the
//! log at once where every floor has passed them.

use std::time::Duration;

use tidings_core::{TenantId, Timestamp};
use tokio_postgres::types::Type;

use super::{Inner, codec::Columns, fault::Fault, lane::make_partitions};
use crate::{CommitError, Retention, Swept};

/// How many tenants one piece looks at.
const TENANTS_MAX: i32 = 1_000;
const DAY: Duration = Duration::from_hours(24);

impl Inner {
    /// Goes on where the last piece ended; `more` until every tenant has been looked at.
    pub(super) async fn retain(
        &self,
        lane: usize,
        retention: Retention,
        limit: usize,
    ) -> Result<Swept, CommitError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let now = self.time.injected();
        let mut left = limit;
        left -= self.sweep("SELECT tidings.forget_expired($1, $2)", &[(&now, Type::INT8)], left).await?;
        left -= self.sweep("SELECT tidings.purge_webhooks($1)", &[], left).await?;
        left -= self.sweep("SELECT tidings.purge_deleted($1)", &[], left).await?;
        let after = self.retained_to.lock().clone();
        let gaps = self.cut_endpoints(lane, retention, after.as_ref()).await?;
        let (tenants, lives) = self.move_floors(retention, after.as_ref()).await?;
        let moment = self.time.now();
        let finished = retention.age.map(|age| (moment - age).as_micros());
        let spare = spared(retention, moment).map(Timestamp::as_micros);
        left -= self
            .sweep(
                "SELECT tidings.trim($1, $2, $3, $4, $5)",
                &[
                    (&tenants, Type::TEXT_ARRAY),
                    (&lives, Type::INT4_ARRAY),
                    (&spare, Type::INT8),
                    (&finished, Type::INT8),
                ],
                left,
            )
            .await?;
        left -= self.forget_webhooks(retention, (&tenants, &lives), left).await?;
        let dead_letters = self.forget_dead_letters(retention, (&tenants, &lives), left).await?;
        left -= dead_letters;
        let dead_letters = dead_letters as usize;
        let rows = (limit - left) as usize;
        if left <= 0 {
            return Ok(Swept { rows, more: true, gaps, dead_letters });
        }
        let more = tenants.len() == TENANTS_MAX as usize;
        let last = tenants.last().and_then(|id| TenantId::new(id.as_str()).ok());
        *self.retained_to.lock() = last.filter(|_| more);
        if !more {
            self.turn_days(moment, retention).await?;
        }
        Ok(Swept { rows, more, gaps, dead_letters })
    }

    /// A function whose last parameter is how many rows may go, and which answers how many went.
    async fn sweep(
        &self,
        sql: &str,
        parameters: &[super::pool::Parameter<'_>],
        left: i32,
    ) -> Result<i32, Fault> {
        if left <= 0 {
            return Ok(0);
        }
        let mut all = parameters.to_vec();
        all.push((&left, Type::INT4));
        let rows = self.pool.query(sql, &all).await?;
        let row = rows.first().ok_or_else(|| Fault::Unreadable("an answer without a row".into()))?;
        Ok(Columns::of(row).get(0)?)
    }

    /// What endpoints have waited for too long is lost to them, before floors pass it.
    async fn cut_endpoints(
        &self,
        lane: usize,
        retention: Retention,
        after: Option<&TenantId>,
    ) -> Result<usize, CommitError> {
        let any = self.pool.query("SELECT tidings.has_endpoints()", &[]).await?;
        if !any.first().is_some_and(|row| row.get::<_, bool>(0)) {
            return Ok(0);
        }
        let (now, (age, count)) = (self.time.injected(), bounds(retention));
        let row = self
            .lanes
            .call(
                lane,
                "SELECT tidings.cut_endpoints($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                &[
                    (&now, Type::INT8),
                    (&after.map_or("", TenantId::as_str), Type::TEXT),
                    (&age, Type::INT8),
                    (&count, Type::INT8),
                    (&micros(retention.webhooks.backlog), Type::INT8),
                    (&TENANTS_MAX, Type::INT4),
                ],
            )
            .await?;
        let cut: i64 = row.try_get(0).unwrap_or_default();
        Ok(usize::try_from(cut).unwrap_or_default())
    }

    async fn forget_webhooks(
        &self,
        retention: Retention,
        (tenants, lives): (&[String], &[i32]),
        left: i32,
    ) -> Result<i32, Fault> {
        let now = self.time.injected();
        let most = i64::try_from(retention.webhooks.attempts_per_endpoint).unwrap_or(i64::MAX);
        let age = retention.webhooks.attempts_age.map(micros);
        self.sweep(
            "SELECT tidings.forget_webhooks($1, $2, $3, $4, $5, $6)",
            &[
                (&now, Type::INT8),
                (&tenants, Type::TEXT_ARRAY),
                (&lives, Type::INT4_ARRAY),
                (&age, Type::INT8),
                (&most, Type::INT8),
            ],
            left,
        )
        .await
    }

    async fn forget_dead_letters(
        &self,
        retention: Retention,
        (tenants, lives): (&[String], &[i32]),
        left: i32,
    ) -> Result<i32, Fault> {
        let now = self.time.injected();
        let age = retention.webhooks.dead_letters_age.map(micros);
        let most = retention.webhooks.dead_letters_per_endpoint;
        let most = most.map(|most| i64::try_from(most).unwrap_or(i64::MAX));
        self.sweep(
            "SELECT tidings.forget_dead_letters($1, $2, $3, $4, $5, $6)",
            &[
                (&now, Type::INT8),
                (&tenants, Type::TEXT_ARRAY),
                (&lives, Type::INT4_ARRAY),
                (&age, Type::INT8),
                (&most, Type::INT8),
            ],
            left,
        )
        .await
    }

    async fn move_floors(
        &self,
        retention: Retention,
        after: Option<&TenantId>,
    ) -> Result<(Vec<String>, Vec<i32>), Fault> {
        let (now, (age, count)) = (self.time.injected(), bounds(retention));
        let rows = self
            .pool
            .query(
                "SELECT tenant_id, life FROM tidings.move_floors($1, $2, $3, $4, $5)",
                &[
                    (&now, Type::INT8),
                    (&after.map_or("", TenantId::as_str), Type::TEXT),
                    (&age, Type::INT8),
                    (&count, Type::INT8),
                    (&TENANTS_MAX, Type::INT4),
                ],
            )
            .await?;
        let mut looked_at = (Vec::new(), Vec::new());
        for row in &rows {
            let at = Columns::of(row);
            looked_at.0.push(at.get(0)?);
            looked_at.1.push(at.get(1)?);
        }
        Ok(looked_at)
    }

    /// Makes the days to come and drops those that every floor has passed.
    async fn turn_days(&self, now: Timestamp, retention: Retention) -> Result<(), Fault> {
        make_partitions(&self.pool, &self.time).await?;
        let before = (now - retention.age.unwrap_or(DAY)).as_micros();
        let passed = self
            .pool
            .query(
                "SELECT name, attached, pending FROM tidings.passed_partitions($1)",
                &[(&before, Type::INT8)],
            )
            .await?;
        for row in &passed {
            let at = Columns::of(row);
            let (name, attached, pending): (&str, bool, bool) = (at.get(0)?, at.get(1)?, at.get(2)?);
            // Neither of these may be part of a transaction, so each is a statement of its own; what is left
            // half done is found by the next round.
            if attached {
                let how = if pending { "FINALIZE" } else { "CONCURRENTLY" };
                self.pool
                    .execute(&format!("ALTER TABLE tidings.events DETACH PARTITION tidings.{name} {how}"))
                    .await?;
            }
            self.pool.execute(&format!("DROP TABLE IF EXISTS tidings.{name}")).await?;
            tracing::info!(partition = name, "a day of the log has expired");
        }
        Ok(())
    }
}

/// Age and count, as parameters.
fn bounds(retention: Retention) -> (Option<i64>, Option<i64>) {
    let count = retention.events_per_tenant.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    (retention.age.map(micros), count)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Rows before this moment are not deleted one by one: within a day their partition goes. Short ages do not
/// wait for that.
fn spared(retention: Retention, now: Timestamp) -> Option<Timestamp> {
    let age = retention.age.filter(|age| *age >= DAY * 2)?;
    let cutoff = (now - age).as_micros();
    let day = DAY.as_micros() as i64;
    Some(Timestamp::from_micros(cutoff - cutoff.rem_euclid(day) + day))
}
