//! Reading: each call is one read transaction of at most a page.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};
use tidings_core::{
    Event, Grant, Job, JobId, JobType, KeyId, Schedule, ScheduleName, Seq, TenantId, Timestamp,
};

use super::{
    SqliteStore,
    column::{get_parsed, get_time, get_time_opt, get_u64},
    event_row::{self, Collected},
    job_row, schedule_row,
    tenant::{self, Tenant, TenantKey},
};
use crate::{
    Batch, CommitError, Committed, EventPage, Import, JobPage, JobQuery, KeyRecord, LogState, PageLimit,
    QueueStats, ReadError, Revocation, Store, TenantRecord, Webhooks, permits::Whose,
};

/// Rows that one page of jobs looks at in search of those that match.
const JOBS_SCANNED_MAX: usize = 20_000;
const JOBS_MAX: usize = 1_000;
const REVOCATIONS_MAX: i64 = 1_000;

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, _lane: usize, batch: &Batch) -> Result<Committed, CommitError> {
        self.commit_batch(batch)
    }

    fn limit_jobs(&self, concurrency: HashMap<JobType, u32>) {
        self.concurrency.set(concurrency);
    }

    async fn close(&self) {
        Self::close(self).await;
    }

    fn importer(&self) -> Option<&dyn Import> {
        Some(self)
    }

    fn webhooks(&self) -> Option<&dyn Webhooks> {
        Some(self)
    }

    async fn answers(&self) -> Result<(), ReadError> {
        self.probe.read(|conn| tenant::list(conn, None, 1).map(drop)).await
    }

    async fn log_state(&self, tenant: &TenantId) -> Result<Option<LogState>, ReadError> {
        self.readers.read_in(tenant, |_, tenant| Ok(tenant.log())).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        self.readers.read_in(tenant, move |conn, tenant| events(conn, tenant, after, limit)).await
    }

    async fn job_events(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        let read = move |conn: &Connection, tenant: &Tenant| job_events(conn, tenant, job, after, limit);
        Ok(self.readers.read_in(tenant, read).await?.flatten())
    }

    async fn event(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Event>, ReadError> {
        let limit = PageLimit { events: 1, bytes: usize::MAX };
        let page = self.events(tenant, seq.prev(), limit).await?;
        Ok(page.and_then(|page| page.events.into_iter().find(|event| event.seq == seq)))
    }

    async fn job(&self, tenant: &TenantId, id: JobId) -> Result<Option<Job>, ReadError> {
        let read = move |conn: &Connection, tenant: &Tenant| {
            Ok(job_row::find(conn, tenant.key, &tenant.id, id)?.map(|found| found.job))
        };
        Ok(self.readers.read_in(tenant, read).await?.flatten())
    }

    async fn jobs(&self, tenant: &TenantId, query: &JobQuery) -> Result<JobPage, ReadError> {
        let query = query.clone();
        let page = self.readers.read_in(tenant, move |conn, tenant| jobs(conn, tenant, &query)).await?;
        Ok(page.unwrap_or(JobPage { jobs: Vec::new(), next: None }))
    }

    async fn queues(&self, tenant: &TenantId) -> Result<Vec<QueueStats>, ReadError> {
        let now = self.clock.now();
        let queues = self.readers.read_in(tenant, move |conn, tenant| queues(conn, tenant.key, now)).await?;
        Ok(queues.unwrap_or_default())
    }

    async fn schedule(&self, tenant: &TenantId, name: &ScheduleName) -> Result<Option<Schedule>, ReadError> {
        let name = name.clone();
        let read =
            move |conn: &Connection, tenant: &Tenant| schedule_row::find(conn, tenant.key, &tenant.id, &name);
        Ok(self.readers.read_in(tenant, read).await?.flatten())
    }

    async fn schedules(
        &self,
        tenant: &TenantId,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Vec<Schedule>, ReadError> {
        let (after, limit) = (after.cloned(), sql_limit(limit));
        let read = move |conn: &Connection, tenant: &Tenant| {
            schedule_row::list(conn, tenant.key, &tenant.id, after.as_ref(), limit)
        };
        let found = self.readers.read_in(tenant, read).await?;
        Ok(found.unwrap_or_default())
    }

    async fn next_fire_in(&self) -> Result<Option<Duration>, ReadError> {
        let now = self.clock.now();
        let next = self.readers.read(schedule_row::next_due).await?;
        Ok(next.map(|next| next.since(now)))
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, ReadError> {
        self.readers.read_in(id, |_, tenant| Ok(tenant.record())).await
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantRecord>, ReadError> {
        let after = after.cloned();
        self.readers.read(move |conn| tenant::list(conn, after.as_ref(), limit)).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, ReadError> {
        self.readers.read_for(Whose::Key, move |conn| key(conn, id)).await
    }

    async fn keys(
        &self,
        tenant: Option<&TenantId>,
        before: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, ReadError> {
        let Some(tenant) = tenant else {
            return self.readers.read(move |conn| keys(conn, None, before, limit)).await;
        };
        let read = move |conn: &Connection, tenant: &Tenant| keys(conn, Some(tenant.key), before, limit);
        Ok(self.readers.read_in(tenant, read).await?.unwrap_or_default())
    }

    async fn revocations(&self, after: u64) -> Result<Vec<Revocation>, ReadError> {
        self.readers.read(move |conn| revocations(conn, after)).await
    }
}

fn events(conn: &Connection, tenant: &Tenant, after: Seq, limit: PageLimit) -> Result<EventPage> {
    let start = after.max(tenant.oldest.prev());
    let Collected { events, .. } = event_row::collect(
        conn,
        "SELECT seq, time, id, type, job_id, job_type, owner, subject, data, detail, debug
         FROM events WHERE tenant_key = ? AND seq > ? ORDER BY seq LIMIT ?",
        params![tenant.key, start.get() as i64, sql_limit(limit.events)],
        &tenant.id,
        limit.bytes,
    )?;
    // Nothing lies between the floor and the first event that is left.
    let scanned_to = events.last().map_or(start, |event| event.seq);
    Ok(EventPage { events, scanned_to, log: tenant.log() })
}

fn job_events(
    conn: &Connection,
    tenant: &Tenant,
    job: JobId,
    after: Seq,
    limit: PageLimit,
) -> Result<Option<EventPage>> {
    let Some(key) = job_row::key_of(conn, tenant.key, job)? else { return Ok(None) };
    let start = after.max(tenant.oldest.prev());
    let Collected { events, cut } = event_row::collect(
        conn,
        "SELECT seq, time, id, type, job_id, job_type, owner, subject, data, detail, debug
         FROM events WHERE job_key = ? AND seq > ? ORDER BY n LIMIT ?",
        params![key, start.get() as i64, sql_limit(limit.events)],
        &tenant.id,
        limit.bytes,
    )?;
    let full = cut || events.len() >= limit.events.max(1);
    let last = events.last().map(|event| event.seq);
    // A page that was not cut short has everything up to the head.
    let scanned_to = if full { last.unwrap_or(start) } else { start.max(tenant.head) };
    Ok(Some(EventPage { events, scanned_to, log: tenant.log() }))
}

fn jobs(conn: &Connection, tenant: &Tenant, query: &JobQuery) -> Result<JobPage> {
    let mut statement = conn.prepare_cached(job_row::select_jobs!(
        "tenant_key = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC"
    ))?;
    let mut rows = statement.query(params![tenant.key, query.before.as_ref().map(JobId::as_bytes)])?;
    let limit = query.limit.clamp(1, JOBS_MAX);
    let mut jobs: Vec<Job> = Vec::new();
    let mut last = None;
    let mut scanned = 0;
    while let Some(row) = rows.next()? {
        if jobs.len() == limit || scanned == JOBS_SCANNED_MAX {
            // At least one more row is there: the page ends at the last one that was judged.
            return Ok(JobPage { jobs, next: last });
        }
        scanned += 1;
        last = Some(JobId::from_bytes(row.get(1)?));
        if job_row::matches(row, query)? {
            jobs.push(job_row::from_row(row, &tenant.id)?.job);
        }
    }
    Ok(JobPage { jobs, next: None })
}

fn queues(conn: &Connection, tenant: TenantKey, now: Timestamp) -> Result<Vec<QueueStats>> {
    let minute_ago = now - std::time::Duration::from_mins(1);
    let mut statement = conn.prepare_cached(QUEUES)?;
    let rows = statement.query_map(params![tenant, minute_ago.as_micros()], |row| {
        Ok(QueueStats {
            job_type: get_parsed(row, 0, |text| JobType::new(text))?,
            scheduled: get_u64(row, 1)?,
            queued: get_u64(row, 2)?,
            running: get_u64(row, 3)?,
            oldest_due: get_time_opt(row, 4)?,
            finished_last_minute: get_u64(row, 5)?,
        })
    })?;
    rows.collect()
}

/// From the partial indexes alone. `types` jumps from one type to the next instead of reading all rows.
const QUEUES: &str = "
    WITH RECURSIVE
    queued_types(t) AS (
        SELECT (SELECT min(job_type) FROM jobs WHERE state = 1)
        UNION ALL
        SELECT (SELECT min(job_type) FROM jobs WHERE state = 1 AND job_type > t) FROM queued_types WHERE t IS NOT NULL
    ),
    scheduled_types(t) AS (
        SELECT (SELECT min(job_type) FROM jobs WHERE state = 0)
        UNION ALL
        SELECT (SELECT min(job_type) FROM jobs WHERE state = 0 AND job_type > t) FROM scheduled_types WHERE t IS NOT NULL
    ),
    counted(job_type, scheduled, queued, running, oldest_due, finished) AS (
        SELECT t, 0, (SELECT count(*) FROM jobs WHERE state = 1 AND job_type = t AND tenant_key = ?1), 0,
               (SELECT min(run_at) FROM jobs WHERE state = 1 AND job_type = t AND tenant_key = ?1), 0
        FROM queued_types WHERE t IS NOT NULL
        UNION ALL
        SELECT t, (SELECT count(*) FROM jobs WHERE state = 0 AND job_type = t AND tenant_key = ?1), 0, 0, NULL, 0
        FROM scheduled_types WHERE t IS NOT NULL
        UNION ALL
        SELECT job_type, 0, 0, count(*), NULL, 0 FROM jobs WHERE state = 2 AND tenant_key = ?1 GROUP BY job_type
        UNION ALL
        SELECT job_type, 0, 0, 0, NULL, count(*) FROM jobs
        WHERE state >= 3 AND tenant_key = ?1 AND finished_at > ?2 GROUP BY job_type
    )
    SELECT job_type, sum(scheduled), sum(queued), sum(running), min(oldest_due), sum(finished)
    FROM counted GROUP BY job_type
    HAVING sum(scheduled) + sum(queued) + sum(running) + sum(finished) > 0
    ORDER BY job_type";

/// A deleted tenant's keys are gone although their rows may still be there.
fn key(conn: &Connection, id: KeyId) -> Result<Option<KeyRecord>> {
    conn.prepare_cached(
        "SELECT k.id, k.name, k.hash, k.grant_json, k.created_at, k.expires_at, k.revoked_at
         FROM keys k LEFT JOIN tenants t ON t.key = k.tenant_key
         WHERE k.id = ? AND (k.tenant_key IS NULL OR t.state < 2)",
    )?
    .query_row([id.as_bytes()], key_record)
    .optional()
}

fn keys(
    conn: &Connection,
    tenant: Option<TenantKey>,
    before: Option<KeyId>,
    limit: usize,
) -> Result<Vec<KeyRecord>> {
    conn.prepare_cached(
        "SELECT id, name, hash, grant_json, created_at, expires_at, revoked_at FROM keys
         WHERE tenant_key IS ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3",
    )?
    .query_map(params![tenant, before.as_ref().map(KeyId::as_bytes), sql_limit(limit)], key_record)?
    .collect()
}

fn key_record(row: &Row<'_>) -> Result<KeyRecord> {
    Ok(KeyRecord {
        id: KeyId::from_bytes(row.get(0)?),
        name: row.get(1)?,
        hash: row.get(2)?,
        grant: get_parsed(row, 3, |text| serde_json::from_str::<Grant>(text))?,
        created_at: get_time(row, 4)?,
        expires_at: get_time_opt(row, 5)?,
        revoked_at: get_time_opt(row, 6)?,
    })
}

fn revocations(conn: &Connection, after: u64) -> Result<Vec<Revocation>> {
    conn.prepare_cached("SELECT n, key_id, tenant_id FROM revocations WHERE n > ? ORDER BY n LIMIT ?")?
        .query_map(params![i64::try_from(after).unwrap_or(i64::MAX), REVOCATIONS_MAX], |row| {
            let n = get_u64(row, 0)?;
            Ok(match row.get::<_, Option<[u8; 16]>>(1)? {
                Some(id) => Revocation::Key { n, id: KeyId::from_bytes(id) },
                None => Revocation::Tenant { n, id: get_parsed(row, 2, |text| TenantId::new(text))? },
            })
        })?
        .collect()
}

pub(super) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit.max(1)).unwrap_or(i64::MAX)
}
