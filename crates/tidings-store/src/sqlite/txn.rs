//! One transaction: what every command of a batch works with.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use rusqlite::{CachedStatement, Connection, Result};
use tidings_core::{
    Entropy, Event, Job, JobType, NewEvent, Seq, TenantId, Timestamp,
    job::{Moment, StateName, Step},
};

use super::{
    endpoint_row::EndpointKey,
    event_row,
    fault::Stop,
    job_row::{self, Before, JobKey, Stored},
    tenant::{Tenant, TenantKey, Tenants},
};
use crate::{CommandError, TenantState};

/// What the writer remembers from one transaction to the next. A rollback forgets it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) tenants: Tenants,
    /// The last number given to a job; 0 before it is read.
    pub(super) last_job_key: JobKey,
    /// How many jobs of each limited type run in each tenant; read when first asked for.
    pub(super) running: Option<Running>,
    /// How many may.
    pub(super) limits: Arc<HashMap<JobType, u32>>,
    /// Which tenant each kind of claim served last.
    pub(super) rotation: HashMap<u64, TenantKey, RandomState>,
    /// Where the next piece of retention goes on.
    pub(super) retained_to: TenantKey,
    /// Where it goes on among endpoints; `None` while it is at tenants.
    pub(super) retained_endpoint: Option<EndpointKey>,
}

pub(super) type Running = HashMap<(TenantKey, JobType), u32, RandomState>;

impl Memory {
    pub(super) fn forget(&mut self) {
        self.tenants.forget_all();
        self.last_job_key = 0;
        self.running = None;
    }

    /// Jobs of a type that was not limited have not been counted.
    pub(super) fn limited_by(&mut self, limits: Arc<HashMap<JobType, u32>>) {
        if !Arc::ptr_eq(&self.limits, &limits) {
            self.limits = limits;
            self.running = None;
        }
    }

    pub(super) fn next_job_key(&mut self, conn: &Connection) -> Result<JobKey> {
        if self.last_job_key == 0 {
            // A deleted job's events may outlive it, and must not become another's.
            self.last_job_key = conn.query_row(
                "SELECT max(ifnull((SELECT max(key) FROM jobs), 0),
                            ifnull((SELECT max(job_key) FROM events WHERE job_key IS NOT NULL), 0))",
                [],
                |row| row.get(0),
            )?;
        }
        self.last_job_key += 1;
        Ok(self.last_job_key)
    }
}

pub(super) struct Txn<'c> {
    pub(super) conn: &'c Connection,
    pub(super) memory: &'c mut Memory,
    pub(super) entropy: &'c dyn Entropy,
    pub(super) now: Timestamp,
    pub(super) events: Vec<Arc<Event>>,
    insert_event: CachedStatement<'c>,
}

impl<'c> Txn<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        memory: &'c mut Memory,
        entropy: &'c dyn Entropy,
        now: Timestamp,
    ) -> Result<Self> {
        let insert_event = conn.prepare_cached(event_row::INSERT)?;
        Ok(Self { conn, memory, entropy, now, events: Vec::new(), insert_event })
    }

    pub(super) fn moment(&self) -> Moment<'c> {
        Moment { now: self.now, entropy: self.entropy }
    }

    /// A tenant that takes writes, made where `create` says so.
    pub(super) fn writable(&mut self, id: &TenantId, create: bool) -> Result<TenantKey, Stop> {
        match self.memory.tenants.get(self.conn, id)? {
            Some(tenant) => Self::active(tenant),
            None if create => Ok(self.create_tenant(id)?),
            None => Err(CommandError::UnknownTenant.into()),
        }
    }

    /// A tenant that takes writes and may have what the command names. One that could be made has
    /// nothing yet, so that nothing is found in it.
    pub(super) fn existing(&mut self, id: &TenantId, create: bool) -> Result<TenantKey, Stop> {
        match self.memory.tenants.get(self.conn, id)? {
            Some(tenant) => Self::active(tenant),
            None if create => Err(CommandError::NotFound.into()),
            None => Err(CommandError::UnknownTenant.into()),
        }
    }

    fn active(tenant: &Tenant) -> Result<TenantKey, Stop> {
        match tenant.state {
            TenantState::Active => Ok(tenant.key),
            TenantState::Suspended => Err(CommandError::TenantSuspended.into()),
        }
    }

    /// Numbers an event, stores it and keeps it for the feeds.
    pub(super) fn emit(
        &mut self,
        tenant: TenantKey,
        name: &TenantId,
        job: Option<JobKey>,
        fact: NewEvent,
    ) -> Result<(Seq, Timestamp)> {
        let (seq, time) = self.memory.tenants.advance(tenant, self.now);
        let event = Event { seq, time, tenant: name.clone(), fact };
        event_row::insert(&mut self.insert_event, tenant, job, &event)?;
        self.events.push(Arc::new(event));
        Ok((seq, time))
    }

    /// Stores a new job with its first events.
    pub(super) fn insert_job(&mut self, tenant: TenantKey, step: Step) -> Result<Job> {
        let Step { mut job, events } = step;
        let key = self.memory.next_job_key(self.conn)?;
        for fact in events {
            job.seq = self.emit(tenant, &job.tenant, Some(key), fact)?.0;
        }
        job_row::insert(self.conn, tenant, key, &job)?;
        Ok(job)
    }

    /// Stores what a transition made of a job, with its events.
    pub(super) fn write_step(
        &mut self,
        tenant: TenantKey,
        key: JobKey,
        before: Before,
        step: Step,
    ) -> Result<Job> {
        let Step { mut job, events } = step;
        for fact in events {
            job.seq = self.emit(tenant, &job.tenant, Some(key), fact)?.0;
        }
        job_row::update(self.conn, key, before, &job)?;
        self.count_running(tenant, &job.spec.job_type, before.state, job.state.name());
        Ok(job)
    }

    pub(super) fn find_job(
        &mut self,
        tenant: TenantKey,
        name: &TenantId,
        id: tidings_core::JobId,
    ) -> Result<Stored, Stop> {
        Ok(job_row::find(self.conn, tenant, name, id)?.ok_or(CommandError::NotFound)?)
    }

    fn count_running(&mut self, tenant: TenantKey, job_type: &JobType, before: StateName, after: StateName) {
        let (was, is) = (before == StateName::Running, after == StateName::Running);
        if was == is || !self.memory.limits.contains_key(job_type) {
            return;
        }
        if let Some(running) = &mut self.memory.running {
            let count = running.entry((tenant, job_type.clone())).or_default();
            *count = if is { *count + 1 } else { count.saturating_sub(1) };
        }
    }

    /// How many jobs of a limited type run in a tenant.
    pub(super) fn running(&mut self, tenant: TenantKey, job_type: &JobType) -> Result<u32> {
        if self.memory.running.is_none() {
            let mut counts = Running::default();
            let mut statement = self
                .conn
                .prepare("SELECT tenant_key, job_type, count(*) FROM jobs WHERE state = 2 GROUP BY 1, 2")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let job_type = super::column::get_parsed(row, 1, |text| JobType::new(text))?;
                counts.insert((row.get(0)?, job_type), row.get(2)?);
            }
            self.memory.running = Some(counts);
        }
        let counts = self.memory.running.as_ref().expect("the counts were read above");
        Ok(counts.get(&(tenant, job_type.clone())).copied().unwrap_or(0))
    }
}
