//! One call of `tidings.commit`: a plan as arrays, and what came of each unit.

use tidings_core::{Epoch, Job, JobId, NewEvent, Seq, Subject, Timestamp, UniqueKey, UserId, job::Report};
use tokio_postgres::{Row, types::Type};

use super::{
    arrays::Arrays,
    codec::{self, Columns, Id, Json},
    job_row::state_code,
    plan::{Plan, UnitNo},
};
use crate::job_state::StateColumns;

/// What came of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    /// Its ground has moved since it was decided.
    Moved,
    UnknownTenant,
    Suspended,
    Repeated,
    Mismatch,
    AlreadyUsed,
    Full,
}

/// What the database answered to a plan.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) verdicts: Vec<Verdict>,
    /// Of each tenant: its head before, and the time of its events.
    pub(super) tenants: Vec<Option<(Seq, Timestamp)>>,
    pub(super) epochs: Vec<Option<Epoch>>,
    pub(super) repeats: Vec<Repeat>,
    pub(super) now: Timestamp,
}

/// What was kept under an idempotency key.
#[derive(Debug)]
pub(super) struct Repeat {
    pub(super) unit: UnitNo,
    pub(super) outcome: String,
    /// The head before the first outcome's events.
    pub(super) base: Option<Seq>,
    pub(super) time: Timestamp,
}

impl Written {
    /// Who was to be made and was thought to be there has to be looked at again.
    pub(super) fn missed(mut self, plan: &Plan) -> Self {
        for (verdict, unit) in self.verdicts.iter_mut().zip(&plan.units) {
            if *verdict == Verdict::UnknownTenant && plan.tenants[unit.tenant].create {
                *verdict = Verdict::Moved;
            }
        }
        self
    }

    /// What an empty plan comes to.
    pub(super) const fn nothing() -> Self {
        Self {
            verdicts: Vec::new(),
            tenants: Vec::new(),
            epochs: Vec::new(),
            repeats: Vec::new(),
            now: Timestamp::from_micros(0),
        }
    }
}

impl Verdict {
    /// A code of the column that holds verdicts, the first.
    pub(super) fn read(at: Columns<'_>, code: i16) -> codec::Result<Self> {
        Self::from_code(code).ok_or_else(|| at.unreadable(0, &format!("{code} is no verdict")))
    }

    fn from_code(code: i16) -> Option<Self> {
        Some(match code {
            0 => Self::Done,
            1 => Self::Moved,
            2 => Self::UnknownTenant,
            3 => Self::Suspended,
            4 => Self::Repeated,
            5 => Self::Mismatch,
            6 => Self::AlreadyUsed,
            7 => Self::Full,
            _ => return None,
        })
    }
}

/// What `tidings.commit` and `tidings.fire` return, in the order that [`read`] reads.
pub(super) const COLUMNS: &str =
    "verdicts, bases, times, repeats, outcomes, outcome_bases, outcome_times, now, epochs";

impl<'p> Arrays<'p> {
    /// `epochs`: what the histories of tenants are called that this call makes.
    pub(super) fn of(plan: &'p Plan, epochs: &'p [Option<Epoch>]) -> Self {
        let mut arrays = Self::with_capacity(64);
        arrays.tenants(plan, epochs);
        arrays.events(plan);
        arrays.job_states(plan);
        arrays.job_specs(plan);
        arrays.rest(plan);
        // Only one of the two functions takes them.
        if !plan.schedules.is_empty() {
            arrays.schedules(plan);
        }
        arrays
    }

    fn tenants(&mut self, plan: &'p Plan, epochs: &'p [Option<Epoch>]) {
        self.push(Type::TEXT_ARRAY, plan.tenants.iter().map(|t| t.id.as_str()));
        self.push(Type::BOOL_ARRAY, epochs.iter().map(Option::is_some));
        self.push(Type::TEXT_ARRAY, epochs.iter().map(|epoch| epoch.as_ref().map(Epoch::as_str)));
        self.push(Type::INT4_ARRAY, plan.units.iter().map(|u| place(u.tenant)));
        self.push(Type::BOOL_ARRAY, plan.units.iter().map(|u| u.any_state));
    }

    fn events(&mut self, plan: &'p Plan) {
        self.push(Type::INT4_ARRAY, plan.events.iter().map(|event| place(event.unit)));
        self.facts(|| plan.events.iter().map(|event| &event.fact));
    }

    /// What events say.
    pub(super) fn facts<I: Iterator<Item = &'p NewEvent>>(&mut self, facts: impl Fn() -> I) {
        self.push_sparse(Type::UUID_ARRAY, facts().map(|fact| Some(Id(*fact.id.as_bytes()))));
        self.push_sparse(Type::TEXT_ARRAY, facts().map(|fact| Some(fact.event_type.as_str())));
        let jobs = || facts().map(|fact| fact.job.as_ref());
        self.push_sparse(Type::UUID_ARRAY, jobs().map(|job| job.map(|job| Id(*job.id.as_bytes()))));
        self.push_sparse(Type::TEXT_ARRAY, jobs().map(|job| job.map(|job| job.job_type.as_str())));
        self.push_sparse(Type::TEXT_ARRAY, facts().map(|fact| fact.owner.as_ref().map(UserId::as_str)));
        self.push_sparse(Type::TEXT_ARRAY, facts().map(|fact| fact.subject.as_ref().map(Subject::as_str)));
        self.push_sparse(Type::TEXT_ARRAY, facts().map(|fact| Some(Json(&fact.body.minimal))));
        self.push_sparse(Type::TEXT_ARRAY, facts().map(|fact| fact.body.detail.as_ref().map(Json)));
        self.push_sparse(Type::TEXT_ARRAY, facts().map(|fact| fact.body.debug.as_ref().map(Json)));
    }

    fn job_states(&mut self, plan: &'p Plan) {
        let jobs = || plan.jobs.iter().map(|planned| &planned.job);
        let event = |at: Option<usize>| at.map(place);
        self.push(Type::INT4_ARRAY, plan.jobs.iter().map(|planned| place(planned.unit)));
        self.push(Type::UUID_ARRAY, jobs().map(|job| Id(*job.id.as_bytes())));
        self.push(Type::INT8_ARRAY, plan.jobs.iter().map(|planned| planned.before));
        self.push(Type::INT4_ARRAY, plan.jobs.iter().map(|planned| event(planned.events.clone().next())));
        self.push(Type::INT4_ARRAY, plan.jobs.iter().map(|planned| event(planned.events.clone().last())));
        self.push(Type::INT4_ARRAY, plan.jobs.iter().map(|planned| planned.limit.map(|n| n as i32)));
        self.push(Type::TEXT_ARRAY, jobs().map(|job| job.spec.job_type.as_str()));
        self.states(jobs);
    }

    /// What may change of jobs.
    pub(super) fn states<I: Iterator<Item = &'p Job>>(&mut self, jobs: impl Fn() -> I) {
        let states = || jobs().map(|job| StateColumns::of(&job.state));
        self.push_sparse(Type::INT2_ARRAY, jobs().map(|job| Some(state_code(job.state.name()))));
        self.push_sparse(Type::INT8_ARRAY, states().map(|state| state.run_at));
        self.push_sparse(Type::INT4_ARRAY, jobs().map(|job| Some(job.attempt as i32)));
        self.push_sparse(Type::INT8_ARRAY, jobs().map(|job| Some(job.lease_no as i64)));
        self.push_sparse(Type::TEXT_ARRAY, states().map(|state| state.worker));
        self.push_sparse(Type::INT8_ARRAY, states().map(|state| state.lease_expires_at));
        self.push_sparse(Type::BOOL_ARRAY, states().map(|state| Some(state.cancel_requested)));
        let reported = || jobs().map(|job| job.reported);
        self.push_sparse(Type::INT8_ARRAY, reported().map(|r| r.map(|(lease_no, _)| lease_no as i64)));
        let report = |(_, report)| i16::from(report == Report::Fail);
        self.push_sparse(Type::INT2_ARRAY, reported().map(|r| r.map(report)));
        let progress = || jobs().map(|job| job.progress.as_ref());
        self.push_sparse(Type::INT2_ARRAY, progress().map(|p| p.map(|p| i16::from(p.percent))));
        self.push_sparse(
            Type::BYTEA_ARRAY,
            progress().map(|p| p.and_then(|p| p.message.as_deref()).map(str::as_bytes)),
        );
        let failure = || jobs().map(|job| job.failure.as_ref());
        self.push_sparse(Type::TEXT_ARRAY, failure().map(|f| f.map(|f| f.category.as_str())));
        self.push_sparse(Type::BYTEA_ARRAY, failure().map(|f| f.map(|f| f.message.as_bytes())));
        self.push_sparse(Type::BYTEA_ARRAY, failure().map(|f| f.map(|f| f.raw.as_bytes())));
        self.push_sparse(Type::INT8_ARRAY, jobs().map(|job| job.started_at.map(Timestamp::as_micros)));
        self.push_sparse(Type::INT8_ARRAY, states().map(|state| state.finished_at));
        self.push_sparse(Type::TEXT_ARRAY, states().map(|state| state.result.map(Json)));
    }

    /// What never changes goes along with new jobs alone.
    fn job_specs(&mut self, plan: &'p Plan) {
        let new = || plan.jobs.iter().map(|planned| planned.before.is_none().then_some(&planned.job));
        let specs = || new().map(|job| job.map(|job| &job.spec));
        self.push(Type::TEXT_ARRAY, specs().map(|s| s.and_then(|s| s.owner.as_ref().map(UserId::as_str))));
        self.push(Type::TEXT_ARRAY, specs().map(|s| s.and_then(|s| s.subject.as_ref().map(Subject::as_str))));
        self.push(Type::INT2_ARRAY, specs().map(|s| s.map(|s| s.priority)));
        self.push(Type::INT8_ARRAY, new().map(|job| job.map(|job: &Job| job.created_at.as_micros())));
        self.push(
            Type::TEXT_ARRAY,
            specs().map(|s| s.and_then(|s| s.unique_key.as_ref().map(UniqueKey::as_str))),
        );
        self.push(Type::INT4_ARRAY, specs().map(|s| s.map(|s| s.max_attempts as i32)));
        self.push(Type::INT8_ARRAY, specs().map(|s| s.map(|s| micros(s.backoff.base))));
        self.push(Type::INT8_ARRAY, specs().map(|s| s.map(|s| micros(s.backoff.max))));
        self.push(
            Type::UUID_ARRAY,
            specs().map(|s| s.and_then(|s| s.retry_of.as_ref().map(JobId::as_bytes)).map(|id| Id(*id))),
        );
        self.push(Type::TEXT_ARRAY, specs().map(|s| s.map(|s| Json(&s.payload))));
    }

    fn rest(&mut self, plan: &'p Plan) {
        self.push(Type::INT4_ARRAY, plan.keys.iter().map(|k| place(k.unit)));
        self.push(Type::TEXT_ARRAY, plan.keys.iter().map(|k| &*k.key.route));
        self.push(Type::TEXT_ARRAY, plan.keys.iter().map(|k| &*k.key.key));
        self.push(Type::BYTEA_ARRAY, plan.keys.iter().map(|k| &k.key.body_hash[..]));
        self.push(Type::TEXT_ARRAY, plan.keys.iter().map(|k| k.outcome.as_deref()));
        self.push(Type::INT4_ARRAY, plan.tickets.iter().map(|t| place(t.unit)));
        self.push(Type::UUID_ARRAY, plan.tickets.iter().map(|t| Id(t.id)));
        self.push(Type::INT8_ARRAY, plan.tickets.iter().map(|t| t.expires_at.as_micros()));
        self.push(Type::INT4_ARRAY, plan.moved.iter().map(|(unit, _)| place(*unit)));
        self.push(Type::INT8_ARRAY, plan.moved.iter().map(|(_, id)| *id));
    }

    fn schedules(&mut self, plan: &'p Plan) {
        let after = || plan.schedules.iter().map(|planned| &planned.schedule);
        self.push(Type::INT4_ARRAY, plan.schedules.iter().map(|planned| place(planned.unit)));
        self.push(Type::UUID_ARRAY, after().map(|schedule| Id(*schedule.id.as_bytes())));
        self.push(Type::INT8_ARRAY, plan.schedules.iter().map(|planned| planned.before));
        self.push(Type::INT8_ARRAY, after().map(|schedule| schedule.next_fire.map(Timestamp::as_micros)));
        self.push(Type::INT8_ARRAY, after().map(|schedule| schedule.last_fire.map(|(at, _)| at.as_micros())));
        self.push(
            Type::UUID_ARRAY,
            after().map(|schedule| schedule.last_fire.map(|(_, job)| Id(*job.as_bytes()))),
        );
        self.push(Type::INT8_ARRAY, after().map(|schedule| schedule.last_skip.map(Timestamp::as_micros)));
    }
}

/// PostgreSQL counts from 1.
pub(super) const fn place(at: usize) -> i32 {
    at as i32 + 1
}

pub(super) fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(super) fn read(row: &Row) -> codec::Result<Written> {
    let at = Columns::of(row);
    let codes: Vec<i16> = codec::list(row, 0)?;
    let mut verdicts = Vec::with_capacity(codes.len());
    for code in codes {
        verdicts.push(Verdict::read(at, code)?);
    }
    let heads: Vec<Option<i64>> = codec::list(row, 1)?;
    let times: Vec<Option<i64>> = codec::list(row, 2)?;
    let tenants = heads.into_iter().zip(times).map(|(base, time)| head(base, time)).collect();
    let units: Vec<i32> = codec::list(row, 3)?;
    let outcomes: Vec<String> = codec::list(row, 4)?;
    let bases: Vec<Option<i64>> = codec::list(row, 5)?;
    let kept_times: Vec<i64> = codec::list(row, 6)?;
    let repeats = units
        .into_iter()
        .zip(outcomes)
        .zip(bases.into_iter().zip(kept_times))
        .map(|((unit, outcome), (base, time))| Repeat {
            unit: unit as usize - 1,
            outcome,
            base: base.map(seq),
            time: Timestamp::from_micros(time),
        })
        .collect();
    let names: Vec<Option<String>> = codec::list(row, 8)?;
    let epochs = names.iter().map(|name| epoch(name.as_deref())).collect();
    Ok(Written { verdicts, tenants, epochs, repeats, now: at.time(7)? })
}

/// A tenant's head before the write, and the time of its events; `None`: it is not there, or may not write.
pub(super) fn head(base: Option<i64>, time: Option<i64>) -> Option<(Seq, Timestamp)> {
    base.map(|base| (seq(base), Timestamp::from_micros(time.unwrap_or_default())))
}

pub(super) fn epoch(name: Option<&str>) -> Option<Epoch> {
    name.and_then(|name| Epoch::parse(name).ok())
}

const fn seq(n: i64) -> Seq {
    Seq::new(n as u64)
}
