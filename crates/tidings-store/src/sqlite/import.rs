//! Taking in what another store kept.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tidings_core::{
    Endpoint, EndpointId, Event, Job, Schedule, Seq, TenantId, Timestamp,
    webhook::{Delivery, Replay},
};

use super::{
    SqliteStore, blocking, delivery_row, endpoint_row, event_row,
    job_row::{self, Before},
    schedule_row,
    tenant::{self, Tenant, state_code},
    txn::Memory,
};
use crate::{
    CommitError, KeyRecord, TenantRecord, TenantState,
    archive::{Begun, Import, ImportError},
};

/// What goes on in one transaction of the writer.
type Work<T> = Box<dyn FnOnce(&Connection, &mut Memory) -> rusqlite::Result<T> + Send>;

#[async_trait]
impl Import for SqliteStore {
    async fn begin(&self, record: &TenantRecord) -> Result<Begun, ImportError> {
        let (wanted, record) = (record.clone(), record.clone());
        let found = self
            .importing(Box::new(move |conn, _| {
                if let Some(found) = tenant::find(conn, &record.id)? {
                    return Ok(found);
                }
                make(conn, &record)?;
                tenant::find(conn, &record.id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
            }))
            .await?;
        if found.epoch != wanted.log.epoch {
            return Err(ImportError::OtherHistory(wanted.id));
        }
        Ok(match found.state {
            TenantState::Active => Begun::InUse(found.head),
            TenantState::Suspended => Begun::Open(found.head),
        })
    }

    async fn append(&self, tenant: &TenantId, events: &[Event]) -> Result<(), ImportError> {
        let (id, events) = (tenant.clone(), events.to_vec());
        let before = events.first().map(|event| event.seq.prev());
        let done = self
            .importing(Box::new(move |conn, _| {
                let Some(tenant) = open(conn, &id)?.filter(|tenant| Some(tenant.head) == before) else {
                    return Ok(false);
                };
                append(conn, &tenant, &events)?;
                Ok(true)
            }))
            .await?;
        done_or_lost(done, tenant)
    }

    async fn put_jobs(&self, tenant: &TenantId, _before: u64, jobs: &[Job]) -> Result<(), ImportError> {
        let (id, jobs) = (tenant.clone(), jobs.to_vec());
        let done = self
            .importing(Box::new(move |conn, memory| {
                let Some(tenant) = open(conn, &id)? else { return Ok(false) };
                for job in &jobs {
                    if job_row::key_of(conn, tenant.key, job.id)?.is_none() {
                        let key = memory.next_job_key(conn)?;
                        job_row::insert(conn, tenant.key, key, job)?;
                        let as_inserted = Before { state: job.state.name(), lease_no: 0 };
                        job_row::update(conn, key, as_inserted, job)?;
                    }
                }
                Ok(true)
            }))
            .await?;
        done_or_lost(done, tenant)
    }

    async fn put_schedules(&self, tenant: &TenantId, schedules: &[Schedule]) -> Result<(), ImportError> {
        let (id, schedules) = (tenant.clone(), schedules.to_vec());
        let done = self
            .importing(Box::new(move |conn, _| {
                let Some(tenant) = open(conn, &id)? else { return Ok(false) };
                for schedule in &schedules {
                    if schedule_row::find_by_id(conn, tenant.key, &id, schedule.id)?.is_none() {
                        schedule_row::insert(conn, tenant.key, schedule)?;
                    }
                }
                schedule_row::set_firing(conn, tenant.key, false)?;
                Ok(true)
            }))
            .await?;
        done_or_lost(done, tenant)
    }

    async fn put_endpoint(
        &self,
        tenant: &TenantId,
        endpoint: &Endpoint,
        replays: &[Replay],
    ) -> Result<(), ImportError> {
        let (id, mut endpoint, replays) = (tenant.clone(), endpoint.clone(), replays.to_vec());
        let done = self
            .importing(Box::new(move |conn, _| {
                let Some(tenant) = open(conn, &id)? else { return Ok(false) };
                if endpoint_row::key_of(conn, tenant.key, endpoint.id)?.is_some() {
                    return Ok(true);
                }
                endpoint.change = endpoint_row::next_change(conn)?;
                endpoint_row::insert(conn, tenant.key, &endpoint)?;
                let owner = (tenant.key, conn.last_insert_rowid());
                replays.iter().try_for_each(|replay| delivery_row::put_replay(conn, owner, replay))?;
                Ok(true)
            }))
            .await?;
        done_or_lost(done, tenant)
    }

    async fn put_deliveries(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        deliveries: &[Delivery],
    ) -> Result<(), ImportError> {
        let (id, deliveries) = (tenant.clone(), deliveries.to_vec());
        let done = self
            .importing(Box::new(move |conn, _| {
                let Some(tenant) = open(conn, &id)? else { return Ok(false) };
                let Some(key) = endpoint_row::key_of(conn, tenant.key, endpoint)? else { return Ok(false) };
                let owner = (tenant.key, key);
                deliveries.iter().try_for_each(|delivery| delivery_row::put(conn, owner, delivery))?;
                Ok(true)
            }))
            .await?;
        done_or_lost(done, tenant)
    }

    async fn put_keys(&self, tenant: Option<&TenantId>, keys: &[KeyRecord]) -> Result<(), ImportError> {
        let (id, keys) = (tenant.cloned(), keys.to_vec());
        self.importing(Box::new(move |conn, _| {
            let tenant = match &id {
                Some(id) => open(conn, id)?.map(|tenant| tenant.key),
                None => None,
            };
            let mut insert =
                conn.prepare_cached("INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?)")?;
            for key in &keys {
                insert.execute(params![
                    key.id.as_bytes(),
                    tenant,
                    key.name,
                    key.hash,
                    serde_json::to_string(&key.grant).expect("a grant serialises"),
                    key.created_at.as_micros(),
                    key.expires_at.map(Timestamp::as_micros),
                    key.revoked_at.map(Timestamp::as_micros),
                ])?;
            }
            Ok(())
        }))
        .await
    }

    async fn finish(
        &self,
        tenant: &TenantId,
        state: TenantState,
        left: Option<Timestamp>,
    ) -> Result<(), ImportError> {
        let id = tenant.clone();
        let away = left.map_or(0, |left| self.clock.now().since(left).as_micros() as i64);
        self.importing(Box::new(move |conn, _| {
            let Some(tenant) = open(conn, &id)? else { return Ok(()) };
            conn.execute(
                "UPDATE tenants SET state = ? WHERE key = ?",
                params![state_code(state), tenant.key],
            )?;
            // Only an active tenant is never finished again.
            if state == TenantState::Active {
                conn.execute(
                    "UPDATE jobs SET lease_expires_at = lease_expires_at + ? WHERE tenant_key = ? AND state = 2",
                    params![away, tenant.key],
                )?;
            }
            schedule_row::set_firing(conn, tenant.key, state == TenantState::Active)?;
            endpoint_row::renumber(conn, tenant.key)
        }))
        .await
    }
}

impl SqliteStore {
    /// One transaction beside the journal. The writer forgets what it remembered, which may be true no more.
    async fn importing<T: Send + 'static>(&self, work: Work<T>) -> Result<T, ImportError> {
        let seat = self.writer.clone();
        let done = blocking(move || {
            seat.with(|writer| {
                writer.memory.forget();
                let tx = writer.conn.unchecked_transaction()?;
                let value = work(&tx, &mut writer.memory)?;
                tx.commit()?;
                writer.memory.forget();
                writer.dirty = true;
                Ok(value)
            })
        })
        .await
        .flatten();
        let closed = || Err(CommitError::Unavailable("the store is closed".into()));
        let failed = |error: rusqlite::Error| CommitError::Rejected(error.to_string());
        Ok(done.map_or_else(closed, |result| result.map_err(failed))?)
    }
}

/// A tenant that is being imported.
fn open(conn: &Connection, id: &TenantId) -> rusqlite::Result<Option<Tenant>> {
    Ok(tenant::find(conn, id)?.filter(|tenant| tenant.state == TenantState::Suspended))
}

fn make(conn: &Connection, record: &TenantRecord) -> rusqlite::Result<()> {
    conn.execute(
        "INSERT INTO tenants (id, state, epoch, head, oldest, last_time, created_at) VALUES (?, 1, ?, ?, ?, 0, ?)",
        params![
            record.id.as_str(),
            record.log.epoch.as_str(),
            record.log.oldest.prev().get() as i64,
            record.log.oldest.get() as i64,
            record.created_at.as_micros(),
        ],
    )?;
    Ok(())
}

fn append(conn: &Connection, tenant: &Tenant, events: &[Event]) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached(event_row::INSERT)?;
    for event in events {
        let job = match &event.fact.job {
            // A job that was forgotten has no events of its own to list.
            Some(job) => job_row::key_of(conn, tenant.key, job.id)?,
            None => None,
        };
        event_row::insert(&mut insert, tenant.key, job, event)?;
    }
    let (head, time) = events.last().map_or((Seq::ZERO, tenant.last_time), |event| (event.seq, event.time));
    conn.execute(
        "UPDATE tenants SET head = ?, last_time = ? WHERE key = ?",
        params![head.get() as i64, time.as_micros(), tenant.key],
    )?;
    Ok(())
}

fn done_or_lost(done: bool, tenant: &TenantId) -> Result<(), ImportError> {
    if done {
        return Ok(());
    }
    let text = format!("{tenant} was changed by somebody else meanwhile");
    Err(ImportError::Commit(CommitError::Rejected(text)))
}
