//! Reading: each call is one statement of at most a page.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use tidings_core::{Epoch, Event, Grant, Job, JobId, JobType, KeyId, Schedule, ScheduleName, Seq, TenantId};
use tokio_postgres::{Row, types::Type};

use super::{
    PostgresStore,
    codec::{self, Columns, Id},
    event_row::{self, event_columns},
    fault::Fault,
    job_row::{self, job_columns, state_code},
    pool::Parameter,
    schedule_row::{self, schedule_columns},
};
use crate::{
    Batch, Cluster, CommitError, Committed, EventPage, Import, JobPage, JobQuery, KeyRecord, LogState,
    PageLimit, QueueStats, ReadError, Revocation, Store, TenantRecord, TenantState, Webhooks, permits::Whose,
};

/// Rows that one page of jobs looks at in search of those that match.
const JOBS_SCANNED_MAX: i32 = 20_000;
const JOBS_MAX: usize = 1_000;
const REVOCATIONS_MAX: i64 = 1_000;

#[async_trait]
impl Store for PostgresStore {
    fn lanes(&self) -> usize {
        self.0.lanes.count()
    }

    fn retains_apart(&self) -> bool {
        true
    }

    fn reports_apart(&self) -> bool {
        true
    }

    async fn commit(&self, lane: usize, batch: &Batch) -> Result<Committed, CommitError> {
        self.0.commit(lane, &batch.commands).await
    }

    fn limit_jobs(&self, concurrency: HashMap<JobType, u32>) {
        self.0.concurrency.set(concurrency);
    }

    fn cluster(&self) -> Option<&dyn Cluster> {
        Some(self)
    }

    fn importer(&self) -> Option<&dyn Import> {
        Some(self)
    }

    fn webhooks(&self) -> Option<&dyn Webhooks> {
        Some(self)
    }

    async fn close(&self) {
        Self::close(self);
    }

    async fn answers(&self) -> Result<(), ReadError> {
        // Not of the readers' connections.
        self.0.work.query("SELECT 1 FROM tidings.tenants LIMIT 1", &[]).await?;
        Ok(())
    }

    async fn log_state(&self, tenant: &TenantId) -> Result<Option<LogState>, ReadError> {
        Ok(self.tenant(tenant).await?.map(|tenant| tenant.log))
    }

    async fn events(
        &self,
        tenant: &TenantId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        let Some(found) = self.read_events(tenant, None, after, limit).await? else { return Ok(None) };
        let start = after.max(found.log.oldest.prev());
        // Nothing lies between the floor and the first event that is left.
        let scanned_to = found.events.last().map_or(start, |event| event.seq);
        Ok(Some(EventPage { events: found.events, scanned_to, log: found.log }))
    }

    async fn job_events(
        &self,
        tenant: &TenantId,
        job: JobId,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<EventPage>, ReadError> {
        let Some(found) = self.read_events(tenant, Some(job), after, limit).await? else { return Ok(None) };
        let start = after.max(found.log.oldest.prev());
        let full = found.cut || found.events.len() >= limit.events.max(1);
        let last = found.events.last().map(|event| event.seq);
        // A page that was not cut short has everything up to the head.
        let scanned_to = if full { last.unwrap_or(start) } else { start.max(found.log.head) };
        Ok(Some(EventPage { events: found.events, scanned_to, log: found.log }))
    }

    async fn event(&self, tenant: &TenantId, seq: Seq) -> Result<Option<Event>, ReadError> {
        let limit = PageLimit { events: 1, bytes: usize::MAX };
        let page = self.events(tenant, seq.prev(), limit).await?;
        Ok(page.and_then(|page| page.events.into_iter().find(|event| event.seq == seq)))
    }

    async fn job(&self, tenant: &TenantId, id: JobId) -> Result<Option<Job>, ReadError> {
        let id = Id(*id.as_bytes());
        let rows = self
            .read_in(
                tenant,
                concat!("SELECT ", job_columns!(), " FROM tidings.read_job($1, $2) AS job"),
                &[(&tenant.as_str(), Type::TEXT), (&id, Type::UUID)],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(job_row::from_row(row, 0).map_err(Fault::from)?.map(|seen| seen.job))
    }

    async fn jobs(&self, tenant: &TenantId, query: &JobQuery) -> Result<JobPage, ReadError> {
        let before = query.before.map(|id| Id(*id.as_bytes()));
        let state = query.state.map(state_code);
        let limit = query.limit.clamp(1, JOBS_MAX) as i32;
        let rows = self
            .read_in(
                tenant,
                concat!(
                    "SELECT next, ",
                    job_columns!(),
                    " FROM tidings.read_jobs($1, $2, $3, $4, $5, $6, $7, $8)"
                ),
                &[
                    (&tenant.as_str(), Type::TEXT),
                    (&before, Type::UUID),
                    (&state, Type::INT2),
                    (&query.job_type.as_ref().map(AsRef::<str>::as_ref), Type::TEXT),
                    (&query.owner.as_ref().map(AsRef::<str>::as_ref), Type::TEXT),
                    (&query.subject.as_ref().map(AsRef::<str>::as_ref), Type::TEXT),
                    (&limit, Type::INT4),
                    (&JOBS_SCANNED_MAX, Type::INT4),
                ],
            )
            .await?;
        Ok(job_page(&rows).map_err(Fault::from)?)
    }

    async fn queues(&self, tenant: &TenantId) -> Result<Vec<QueueStats>, ReadError> {
        let now = self.0.time.injected();
        let rows = self
            .read_in(
                tenant,
                "SELECT * FROM tidings.read_queues($1, $2)",
                &[(&tenant.as_str(), Type::TEXT), (&now, Type::INT8)],
            )
            .await?;
        Ok(rows.iter().map(queue).collect::<codec::Result<_>>().map_err(Fault::from)?)
    }

    async fn schedule(&self, tenant: &TenantId, name: &ScheduleName) -> Result<Option<Schedule>, ReadError> {
        Ok(self.read_schedules(tenant, Some(name), None, 1).await?.pop())
    }

    async fn schedules(
        &self,
        tenant: &TenantId,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Vec<Schedule>, ReadError> {
        Ok(self.read_schedules(tenant, None, after, limit).await?)
    }

    async fn next_fire_in(&self) -> Result<Option<Duration>, ReadError> {
        let now = self.0.time.injected();
        let rows = self
            .read(
                "SELECT (SELECT s.due_at FROM tidings.schedules s WHERE s.due_at IS NOT NULL ORDER BY s.due_at LIMIT 1),
                        coalesce($1, tidings.micros())",
                &[(&now, Type::INT8)],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let at = Columns::of(row);
        let (due, now) = (at.time_opt(0).map_err(Fault::from)?, at.time(1).map_err(Fault::from)?);
        Ok(due.map(|due| due.since(now)))
    }

    async fn tenant(&self, id: &TenantId) -> Result<Option<TenantRecord>, ReadError> {
        let rows = self
            .read_in(
                id,
                "SELECT $1, state, epoch, head, oldest, created_at FROM tidings.read_tenant($1)",
                &[(&id.as_str(), Type::TEXT)],
            )
            .await?;
        Ok(rows.first().map(tenant_record).transpose().map_err(Fault::from)?)
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantRecord>, ReadError> {
        let rows = self
            .read(
                "SELECT tenant_id, state, epoch, head, oldest, created_at FROM tidings.tenants
                 WHERE tenant_id > $1 AND state < 2 ORDER BY tenant_id LIMIT $2",
                &[(&after.map_or("", TenantId::as_str), Type::TEXT), (&sql_limit(limit), Type::INT8)],
            )
            .await?;
        Ok(rows.iter().map(tenant_record).collect::<codec::Result<_>>().map_err(Fault::from)?)
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, ReadError> {
        let id = Id(*id.as_bytes());
        let rows = self
            .read_for(
                Whose::Key,
                // A deleted tenant's keys are gone although their rows may still be there.
                "SELECT k.id, k.name, k.hash, k.grant_json, k.created_at, k.expires_at, k.revoked_at
                 FROM tidings.keys k
                 LEFT JOIN tidings.tenants t ON t.tenant_id = k.tenant_id AND t.life = k.life
                 WHERE k.id = $1 AND (k.tenant_id IS NULL OR t.state < 2)",
                &[(&id, Type::UUID)],
            )
            .await?;
        Ok(rows.first().map(key_record).transpose().map_err(Fault::from)?)
    }

    async fn keys(
        &self,
        tenant: Option<&TenantId>,
        before: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyRecord>, ReadError> {
        let before = before.map(|id| Id(*id.as_bytes()));
        let limit = sql_limit(limit);
        let rows = match tenant {
            Some(tenant) => {
                self.read_in(
                    tenant,
                    "SELECT id, name, hash, grant_json, created_at, expires_at, revoked_at
                     FROM tidings.read_keys($1, $2, $3)",
                    &[(&tenant.as_str(), Type::TEXT), (&before, Type::UUID), (&limit, Type::INT8)],
                )
                .await?
            }
            None => {
                self.read(
                    "SELECT id, name, hash, grant_json, created_at, expires_at, revoked_at FROM tidings.keys
                     WHERE tenant_id IS NULL AND ($1 IS NULL OR id < $1) ORDER BY id DESC LIMIT $2",
                    &[(&before, Type::UUID), (&limit, Type::INT8)],
                )
                .await?
            }
        };
        Ok(rows.iter().map(key_record).collect::<codec::Result<_>>().map_err(Fault::from)?)
    }

    async fn revocations(&self, after: u64) -> Result<Vec<Revocation>, ReadError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let rows = self
            .read(
                "SELECT n, key_id, tenant_id FROM tidings.revocations WHERE n > $1 ORDER BY n LIMIT $2",
                &[(&after, Type::INT8), (&REVOCATIONS_MAX, Type::INT8)],
            )
            .await?;
        Ok(rows.iter().map(revocation).collect::<codec::Result<_>>().map_err(Fault::from)?)
    }
}

/// Events with the log that they are of.
struct Found {
    log: LogState,
    events: Vec<Event>,
    /// More followed than the bytes allowed.
    cut: bool,
}

impl PostgresStore {
    pub(super) async fn read(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Fault> {
        self.read_for(Whose::Node, sql, parameters).await
    }

    /// The same within a tenant, when it is the tenant's turn.
    pub(super) async fn read_in(
        &self,
        tenant: &TenantId,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Fault> {
        self.read_for(Whose::Tenant(tenant.clone()), sql, parameters).await
    }

    /// A read that the connection lost is asked again, once: it changes nothing. One that took too long is not.
    async fn read_for(
        &self,
        whose: Whose,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Fault> {
        match self.0.pool.query_in_turn(whose.clone(), sql, parameters).await {
            Err(fault) if fault.is_passing() => self.0.pool.query_in_turn(whose, sql, parameters).await,
            result => result,
        }
    }

    async fn read_schedules(
        &self,
        tenant: &TenantId,
        name: Option<&ScheduleName>,
        after: Option<&ScheduleName>,
        limit: usize,
    ) -> Result<Vec<Schedule>, Fault> {
        let rows = self
            .read_in(
                tenant,
                concat!(
                    "SELECT ",
                    schedule_columns!(),
                    " FROM tidings.read_schedules($1, $2, $3, $4) AS schedule"
                ),
                &[
                    (&tenant.as_str(), Type::TEXT),
                    (&name.map(ScheduleName::as_str), Type::TEXT),
                    (&after.map(ScheduleName::as_str), Type::TEXT),
                    (&sql_limit(limit), Type::INT8),
                ],
            )
            .await?;
        let mut schedules = Vec::with_capacity(rows.len());
        for row in &rows {
            schedules.extend(schedule_row::from_row(row, 0)?.map(|seen| seen.schedule));
        }
        Ok(schedules)
    }

    async fn read_events(
        &self,
        tenant: &TenantId,
        job: Option<JobId>,
        after: Seq,
        limit: PageLimit,
    ) -> Result<Option<Found>, Fault> {
        let job = job.map(|id| Id(*id.as_bytes()));
        let after = after.get() as i64;
        let (events, bytes) = (sql_limit(limit.events), i64::try_from(limit.bytes).unwrap_or(i64::MAX));
        let rows = self
            .read_in(
                tenant,
                concat!(
                    "SELECT epoch, head, oldest, cut, ",
                    event_columns!(),
                    " FROM tidings.read_events($1, $2, $3, $4, $5)"
                ),
                &[
                    (&tenant.as_str(), Type::TEXT),
                    (&job, Type::UUID),
                    (&after, Type::INT8),
                    (&events, Type::INT8),
                    (&bytes, Type::INT8),
                ],
            )
            .await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let mut found = Found { log: log_state(Columns::of(first))?, events: Vec::new(), cut: false };
        for row in &rows {
            found.cut |= Columns::of(row).get::<bool>(3)?;
            found.events.extend(event_row::from_row(row, 4, tenant)?);
        }
        Ok(Some(found))
    }
}

fn log_state(at: Columns<'_>) -> codec::Result<LogState> {
    Ok(LogState {
        epoch: at.parsed(0, Epoch::parse)?,
        head: Seq::new(at.number(1)?),
        oldest: Seq::new(at.number(2)?),
    })
}

fn tenant_record(row: &Row) -> codec::Result<TenantRecord> {
    let at = Columns::of(row);
    Ok(TenantRecord {
        id: at.parsed(0, |text| TenantId::new(text))?,
        state: if at.get::<i16>(1)? == 0 { TenantState::Active } else { TenantState::Suspended },
        log: log_state(Columns::from(row, 2))?,
        created_at: at.time(5)?,
    })
}

fn job_page(rows: &[Row]) -> codec::Result<JobPage> {
    let mut page = JobPage { jobs: Vec::new(), next: None };
    for row in rows {
        if let Some(next) = Columns::of(row).get::<Option<Id>>(0)? {
            page.next = Some(JobId::from_bytes(next.0));
        }
        page.jobs.extend(job_row::from_row(row, 1)?.map(|seen| seen.job));
    }
    Ok(page)
}

fn queue(row: &Row) -> codec::Result<QueueStats> {
    let at = Columns::of(row);
    Ok(QueueStats {
        job_type: at.parsed(0, |text| JobType::new(text))?,
        scheduled: at.number(1)?,
        queued: at.number(2)?,
        running: at.number(3)?,
        oldest_due: at.time_opt(4)?,
        finished_last_minute: at.number(5)?,
    })
}

fn key_record(row: &Row) -> codec::Result<KeyRecord> {
    let at = Columns::of(row);
    let hash: &[u8] = at.get(2)?;
    Ok(KeyRecord {
        id: KeyId::from_bytes(at.get::<Id>(0)?.0),
        name: at.words(1)?.unwrap_or_default(),
        hash: hash.try_into().map_err(|error| at.unreadable(2, &error))?,
        grant: at.parsed(3, |text| serde_json::from_str::<Grant>(text))?,
        created_at: at.time(4)?,
        expires_at: at.time_opt(5)?,
        revoked_at: at.time_opt(6)?,
    })
}

fn revocation(row: &Row) -> codec::Result<Revocation> {
    let at = Columns::of(row);
    let n = at.number(0)?;
    Ok(match at.get::<Option<Id>>(1)? {
        Some(id) => Revocation::Key { n, id: KeyId::from_bytes(id.0) },
        None => Revocation::Tenant { n, id: at.parsed(2, |text| TenantId::new(text))? },
    })
}

pub(super) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit.max(1)).unwrap_or(i64::MAX)
}
