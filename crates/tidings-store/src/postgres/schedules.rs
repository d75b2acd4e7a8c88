//! Changes of one schedule: looked at, decided, and written where it is still what was looked at.

use tidings_core::{Epoch, Schedule, ScheduleId, TenantId, Timestamp};
use tokio_postgres::types::Type;

use super::{
    Inner,
    codec::{Columns, Id, Json},
    fault::Fault,
    pool::Pool,
    schedule_row::{self, SeenSchedule, schedule_columns},
};
use crate::{CommandError, CommitError, Operation, Outcome, SCHEDULES_MAX, TenantState};

/// How often a change that loses races looks again.
const ROUNDS: usize = 8;

/// What a schedule is to become.
struct Change {
    id: ScheduleId,
    /// The version that it was decided on; `None` for a new one.
    before: Option<i64>,
    /// `None`: it goes.
    after: Option<Schedule>,
}

type Written = Result<Result<Outcome, CommandError>, CommitError>;

impl Inner {
    pub(super) async fn commit_schedule(
        &self,
        lane: usize,
        tenant: &TenantId,
        create: bool,
        operation: &Operation,
    ) -> Written {
        for _ in 0..ROUNDS {
            let change = match self.decide_schedule(tenant, create, operation).await? {
                Ok(change) => change,
                Err(refused) => return Ok(Err(refused)),
            };
            match self.write_schedule(lane, tenant, create, &change).await? {
                0 => {
                    let after = change.after.map(|schedule| Outcome::Schedule(Box::new(schedule)));
                    return Ok(Ok(after.unwrap_or(Outcome::Done)));
                }
                // It was changed, or its tenant made or deleted, since it was looked at.
                1 => {}
                2 if create => {}
                2 => return Ok(Err(CommandError::UnknownTenant)),
                3 => return Ok(Err(CommandError::TenantSuspended)),
                9 => return Ok(Err(CommandError::NameTaken)),
                10 => return Ok(Err(CommandError::TooMany)),
                other => return Err(CommitError::Unknown(format!("{other} is no verdict"))),
            }
        }
        Ok(Err(CommandError::Busy))
    }

    async fn decide_schedule(
        &self,
        tenant: &TenantId,
        create: bool,
        operation: &Operation,
    ) -> Result<Result<Change, CommandError>, CommitError> {
        if let Operation::PutSchedule { id, spec, replaces: None } = operation {
            let schedule = Schedule::new(*id, tenant.clone(), (**spec).clone(), self.time.now());
            return Ok(Ok(Change { id: *id, before: None, after: Some(schedule) }));
        }
        let Some(id) = named(operation) else {
            return Ok(Err(CommandError::Rejected("this changes no schedule".into())));
        };
        let (state, seen) = look(&self.work, tenant, id).await?;
        let SeenSchedule { version, schedule } = match (state, seen) {
            (Some(TenantState::Active), Some(seen)) => seen,
            (Some(TenantState::Suspended), _) => return Ok(Err(CommandError::TenantSuspended)),
            (None, _) if !create => return Ok(Err(CommandError::UnknownTenant)),
            _ => return Ok(Err(CommandError::NotFound)),
        };
        let now = self.time.now();
        let after = match operation {
            Operation::PutSchedule { spec, .. } => Some(schedule.replaced((**spec).clone(), now)),
            Operation::PauseSchedule(_) => Some(schedule.paused()),
            Operation::ResumeSchedule(_) => Some(schedule.resumed(now)),
            _ => None,
        };
        Ok(Ok(Change { id, before: Some(version), after }))
    }

    async fn write_schedule(
        &self,
        lane: usize,
        tenant: &TenantId,
        create: bool,
        change: &Change,
    ) -> Result<i16, CommitError> {
        let injected = self.time.injected();
        let epoch = Epoch::generate(&*self.entropy);
        let (after, most) = (change.after.as_ref(), SCHEDULES_MAX as i64);
        let spec = after.map(|schedule| &schedule.spec);
        let job = spec.map(|spec| &spec.job);
        let row = self
            .lanes
            .call(
                lane,
                "SELECT tidings.write_schedule($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                                               $17, $18, $19, $20, $21, $22, $23, $24, $25)",
                &[
                    (&injected, Type::INT8),
                    (&tenant.as_str(), Type::TEXT),
                    // What names a schedule makes no tenant.
                    (&(create && change.before.is_none()), Type::BOOL),
                    (&epoch.as_str(), Type::TEXT),
                    (&most, Type::INT8),
                    (&Id(*change.id.as_bytes()), Type::UUID),
                    (&change.before, Type::INT8),
                    (&spec.map(|spec| spec.name.as_str()), Type::TEXT),
                    (&spec.map(|spec| spec.timing.cron.as_str()), Type::TEXT),
                    (&spec.map(|spec| spec.timing.zone.as_str()), Type::TEXT),
                    (&spec.map(|spec| spec.overlap.as_str()), Type::TEXT),
                    (&after.map(|schedule| schedule.paused), Type::BOOL),
                    (&after.map(|schedule| schedule.created_at.as_micros()), Type::INT8),
                    (&after.and_then(|schedule| schedule.next_fire.map(Timestamp::as_micros)), Type::INT8),
                    (&job.map(|job| job.job_type.as_str()), Type::TEXT),
                    (&job.and_then(|job| job.owner.as_ref().map(AsRef::<str>::as_ref)), Type::TEXT),
                    (&job.and_then(|job| job.subject.as_ref().map(AsRef::<str>::as_ref)), Type::TEXT),
                    (&job.map(|job| job.priority), Type::INT2),
                    (&job.map(|job| job.max_attempts as i32), Type::INT4),
                    (&job.map(|job| micros(job.backoff.base)), Type::INT8),
                    (&job.map(|job| micros(job.backoff.max)), Type::INT8),
                    (&job.map(|job| Json(&job.payload)), Type::TEXT),
                ],
            )
            .await?;
        Columns::of(&row).get(0).map_err(|error| CommitError::Unknown(error.to_string()))
    }
}

/// The schedule that is there already.
const fn named(operation: &Operation) -> Option<ScheduleId> {
    match operation {
        Operation::PutSchedule { replaces, .. } => *replaces,
        Operation::PauseSchedule(id) | Operation::ResumeSchedule(id) | Operation::DeleteSchedule(id) => {
            Some(*id)
        }
        _ => None,
    }
}

async fn look(
    pool: &Pool,
    tenant: &TenantId,
    id: ScheduleId,
) -> Result<(Option<TenantState>, Option<SeenSchedule>), Fault> {
    let rows = pool
        .query(
            concat!("SELECT tenant_state, ", schedule_columns!(), " FROM tidings.look_schedule($1, $2)"),
            &[(&tenant.as_str(), Type::TEXT), (&Id(*id.as_bytes()), Type::UUID)],
        )
        .await?;
    let Some(row) = rows.first() else { return Ok((None, None)) };
    let state = Columns::of(row).get::<Option<i16>>(0)?.map(super::look::state);
    Ok((state, schedule_row::from_row(row, 1)?))
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
