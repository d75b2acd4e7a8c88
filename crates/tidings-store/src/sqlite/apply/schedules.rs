use rusqlite::Error;
use tidings_core::{Schedule, ScheduleId, ScheduleSpec, TenantId, Timestamp, schedule::Due};

use crate::{
    CommandError, Outcome, SCHEDULES_MAX, Swept, TenantState,
    sqlite::{
        fault::Stop,
        job_row,
        schedule_row::{self, ScheduleKey},
        tenant::TenantKey,
        txn::Txn,
    },
};

impl Txn<'_> {
    pub(super) fn put_schedule(
        &mut self,
        tenant: &TenantId,
        create: bool,
        id: ScheduleId,
        spec: &ScheduleSpec,
        replaces: Option<ScheduleId>,
    ) -> Result<Outcome, Stop> {
        if let Some(old) = replaces {
            return self
                .change_schedule(tenant, create, old, |schedule, now| schedule.replaced(spec.clone(), now));
        }
        let key = self.writable(tenant, create)?;
        if schedule_row::find(self.conn, key, tenant, &spec.name)?.is_some() {
            return Err(CommandError::NameTaken.into());
        }
        if schedule_row::count(self.conn, key)? >= SCHEDULES_MAX {
            return Err(CommandError::TooMany.into());
        }
        let schedule = Schedule::new(id, tenant.clone(), spec.clone(), self.now);
        schedule_row::insert(self.conn, key, &schedule)?;
        Ok(Outcome::Schedule(Box::new(schedule)))
    }

    pub(super) fn pause_schedule(
        &mut self,
        tenant: &TenantId,
        create: bool,
        id: ScheduleId,
    ) -> Result<Outcome, Stop> {
        self.change_schedule(tenant, create, id, |schedule, _| schedule.paused())
    }

    pub(super) fn resume_schedule(
        &mut self,
        tenant: &TenantId,
        create: bool,
        id: ScheduleId,
    ) -> Result<Outcome, Stop> {
        self.change_schedule(tenant, create, id, Schedule::resumed)
    }

    pub(super) fn delete_schedule(
        &mut self,
        tenant: &TenantId,
        create: bool,
        id: ScheduleId,
    ) -> Result<Outcome, Stop> {
        let key = self.existing(tenant, create)?;
        if schedule_row::delete(self.conn, key, id)? {
            Ok(Outcome::Done)
        } else {
            Err(CommandError::NotFound.into())
        }
    }

    fn change_schedule(
        &mut self,
        tenant: &TenantId,
        create: bool,
        id: ScheduleId,
        change: impl FnOnce(Schedule, Timestamp) -> Schedule,
    ) -> Result<Outcome, Stop> {
        let key = self.existing(tenant, create)?;
        let found = schedule_row::find_by_id(self.conn, key, tenant, id)?.ok_or(CommandError::NotFound)?;
        let schedule = change(found, self.now);
        schedule_row::update(self.conn, key, &schedule)?;
        Ok(Outcome::Schedule(Box::new(schedule)))
    }

    /// Fires what is due, the longest due first.
    pub(super) fn fire(&mut self, limit: usize) -> Result<Swept, Stop> {
        let due = schedule_row::due(self.conn, self.now, limit)?;
        for (key, tenant) in &due {
            self.fire_one(*key, *tenant)?;
        }
        Ok(Swept { rows: due.len(), more: due.len() == limit, ..Swept::default() })
    }

    fn fire_one(&mut self, key: ScheduleKey, tenant: TenantKey) -> Result<(), Stop> {
        let name = match self.memory.tenants.get_by_key(self.conn, tenant)? {
            Some(found) if found.state == TenantState::Active => found.id.clone(),
            _ => return Ok(schedule_row::rest(self.conn, key)?),
        };
        let schedule = match schedule_row::find_by_key(self.conn, key, &name) {
            Ok(schedule) => schedule,
            // It must not hold the others up.
            Err(error @ Error::FromSqlConversionFailure(..)) => {
                tracing::error!(%error, tenant = %name, "a schedule does not read back and will not fire");
                return Ok(schedule_row::rest(self.conn, key)?);
            }
            Err(error) => return Err(error.into()),
        };
        let Some(due) = schedule.due(self.now) else { return Ok(schedule_row::rest(self.conn, key)?) };
        let made = self.enqueue_due(tenant, &name, &due)?;
        let after = if made { schedule.fired(&due) } else { schedule.skipped(&due) };
        Ok(schedule_row::update_fire(self.conn, key, &after)?)
    }

    /// Whether the fire time has its job. One that was enqueued before, by a clock that was set back since,
    /// is the same.
    fn enqueue_due(&mut self, tenant: TenantKey, name: &TenantId, due: &Due) -> Result<bool, Stop> {
        if job_row::key_of(self.conn, tenant, due.job.id)?.is_some() {
            return Ok(true);
        }
        Ok(self.enqueue_one(tenant, name, &due.job)?.created)
    }
}
