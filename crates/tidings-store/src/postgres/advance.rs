//! One call of `tidings.advance`: a plan that publishes, makes jobs and changes them, in tenants that are known to be there.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{Entropy, Epoch, Job, JobId, Subject, TenantId, Timestamp, UserId};
use tokio_postgres::{Row, types::Type};

use super::{
    arrays::Arrays,
    codec::{self, Columns, Id, Json},
    job_row::state_code,
    plan::{Plan, PlannedJob, PlannedTenant},
    write::{Verdict, Written, epoch, head, micros, place},
};
use crate::job_state::StateColumns;

/// The statement's parameters, those of the call's head included.
pub(super) const PARAMETERS: usize = 61;
/// What it returns, in the order that [`read`] reads.
pub(super) const COLUMNS: &str = "verdicts, epochs, bases, times, moved, now";

/// Tenants that were met not long ago: nobody has to look whether they have yet to be made. One that went
/// meanwhile is missed by the write, and then forgotten.
#[derive(Default)]
pub(super) struct Known(Mutex<HashSet<TenantId, RandomState>>);

/// Beyond it all are forgotten, and met again.
const KNOWN_MAX: usize = 65_536;

impl Known {
    /// Takes over what a write found and missed.
    pub(super) fn learn(&self, plan: &Plan, written: &Written) {
        let mut known = self.0.lock();
        for (tenant, found) in plan.tenants.iter().zip(&written.tenants) {
            if found.is_none() {
                known.remove(&tenant.id);
            } else if !known.contains(&tenant.id) {
                if known.len() >= KNOWN_MAX {
                    known.clear();
                }
                known.insert(tenant.id.clone());
            }
        }
    }

    /// The histories of those that may have to be made, by a name that is theirs if they are.
    pub(super) fn epochs(&self, plan: &Plan, entropy: &dyn Entropy) -> Vec<Option<Epoch>> {
        let known = self.0.lock();
        let is_new = |tenant: &PlannedTenant| tenant.create && !known.contains(&tenant.id);
        plan.tenants.iter().map(|tenant| is_new(tenant).then(|| Epoch::generate(entropy))).collect()
    }
}

/// A plan's tenants in the order in which their rows are locked, and the rest of it in order of these.
pub(super) struct Order {
    /// By place in the call: the place in the plan.
    tenants: Vec<usize>,
    /// Of each tenant of the plan: its place in the call.
    ranks: Vec<usize>,
    /// How many events each tenant of the call gets.
    counts: Vec<i32>,
    events: Vec<Numbered>,
    /// Of each event of the plan: its place in the call.
    called: Vec<usize>,
    /// Places in the plan.
    new_jobs: Vec<usize>,
    changes: Vec<usize>,
    /// Of each unit: the place of its change.
    change_of: Vec<Option<usize>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Numbered {
    /// Its tenant's place in the call.
    tenant: usize,
    /// Its number in its tenant.
    nth: i32,
    /// Its place in the plan.
    at: usize,
}

impl Order {
    /// `None`: the plan takes more than that.
    pub(super) fn of(plan: &Plan, epochs: &[Option<Epoch>]) -> Option<Self> {
        if !plan.is_plain() || epochs.iter().any(Option::is_some) {
            return None;
        }
        let mut tenants: Vec<usize> = (0..plan.tenants.len()).collect();
        tenants.sort_unstable_by(|a, b| plan.tenants[*a].id.as_str().cmp(plan.tenants[*b].id.as_str()));
        let mut ranks = vec![0; tenants.len()];
        for (rank, at) in tenants.iter().enumerate() {
            ranks[*at] = rank;
        }
        let (new_jobs, changes): (Vec<usize>, Vec<usize>) =
            (0..plan.jobs.len()).partition(|at| plan.jobs[*at].before.is_none());
        let mut change_of = vec![None; plan.units.len()];
        for (change, at) in changes.iter().enumerate() {
            change_of[plan.jobs[*at].unit] = Some(change);
        }
        let mut counts = vec![0; tenants.len()];
        let mut events: Vec<Numbered> = (0..plan.events.len())
            .map(|at| {
                let tenant = ranks[plan.units[plan.events[at].unit].tenant];
                counts[tenant] += 1;
                Numbered { tenant, nth: counts[tenant], at }
            })
            .collect();
        // Rows of one tenant lie together in the log's index.
        events.sort_unstable();
        let mut called = vec![0; events.len()];
        for (place, event) in events.iter().enumerate() {
            called[event.at] = place;
        }
        Some(Self { tenants, ranks, counts, events, called, new_jobs, changes, change_of })
    }

    fn tenant_of(&self, plan: &Plan, job: &PlannedJob) -> i32 {
        place(self.ranks[plan.units[job.unit].tenant])
    }
}

impl<'p> Arrays<'p> {
    pub(super) fn advanced(plan: &'p Plan, order: &'p Order) -> Self {
        let mut arrays = Self::with_capacity(PARAMETERS);
        arrays.push(Type::TEXT_ARRAY, order.tenants.iter().map(|at| plan.tenants[*at].id.as_str()));
        arrays.push(Type::INT4_ARRAY, order.counts.iter().copied());
        arrays.numbered(plan, order);
        arrays.new_jobs(plan, order);
        arrays.changes(plan, order);
        arrays
    }

    fn numbered(&mut self, plan: &'p Plan, order: &'p Order) {
        let events = || order.events.iter();
        let change = |at: usize| order.change_of[plan.events[at].unit].map(place);
        self.push_sparse(Type::INT4_ARRAY, events().map(|event| Some(place(event.tenant))));
        self.push_sparse(Type::INT4_ARRAY, events().map(|event| Some(event.nth)));
        self.push_sparse(Type::INT4_ARRAY, events().map(|event| change(event.at)));
        self.facts(|| events().map(|event| &plan.events[event.at].fact));
    }

    fn new_jobs(&mut self, plan: &'p Plan, order: &'p Order) {
        let planned = || order.new_jobs.iter().map(|at| &plan.jobs[*at]);
        let event = |at: Option<usize>| at.map(|at| place(order.called[at]));
        self.push_sparse(Type::INT4_ARRAY, planned().map(|job| Some(order.tenant_of(plan, job))));
        self.push_sparse(Type::INT4_ARRAY, planned().map(|job| event(job.events.clone().next())));
        self.push_sparse(Type::INT4_ARRAY, planned().map(|job| event(job.events.clone().last())));
        let jobs = || planned().map(|planned| &planned.job);
        let states = || jobs().map(|job| StateColumns::of(&job.state));
        self.push_sparse(Type::UUID_ARRAY, jobs().map(|job| Some(Id(*job.id.as_bytes()))));
        self.push_sparse(Type::TEXT_ARRAY, jobs().map(|job| Some(job.spec.job_type.as_str())));
        self.push_sparse(Type::INT2_ARRAY, jobs().map(|job| Some(state_code(job.state.name()))));
        self.push_sparse(Type::INT8_ARRAY, states().map(|state| state.run_at));
        self.push_sparse(Type::INT4_ARRAY, jobs().map(|job| Some(job.attempt as i32)));
        self.push_sparse(Type::INT8_ARRAY, jobs().map(|job| Some(job.lease_no as i64)));
        self.push_sparse(Type::TEXT_ARRAY, states().map(|state| state.worker));
        self.push_sparse(Type::INT8_ARRAY, states().map(|state| state.lease_expires_at));
        self.push_sparse(Type::INT8_ARRAY, jobs().map(|job| job.started_at.map(Timestamp::as_micros)));
        self.specs(jobs);
    }

    fn specs<I: Iterator<Item = &'p Job>>(&mut self, jobs: impl Fn() -> I) {
        let specs = || jobs().map(|job| &job.spec);
        self.push_sparse(Type::TEXT_ARRAY, specs().map(|spec| spec.owner.as_ref().map(UserId::as_str)));
        self.push_sparse(Type::TEXT_ARRAY, specs().map(|spec| spec.subject.as_ref().map(Subject::as_str)));
        self.push_sparse(Type::INT2_ARRAY, specs().map(|spec| Some(spec.priority)));
        self.push_sparse(Type::INT8_ARRAY, jobs().map(|job| Some(job.created_at.as_micros())));
        self.push_sparse(Type::INT4_ARRAY, specs().map(|spec| Some(spec.max_attempts as i32)));
        self.push_sparse(Type::INT8_ARRAY, specs().map(|spec| Some(micros(spec.backoff.base))));
        self.push_sparse(Type::INT8_ARRAY, specs().map(|spec| Some(micros(spec.backoff.max))));
        let retry_of = |id: &JobId| Id(*id.as_bytes());
        self.push_sparse(Type::UUID_ARRAY, specs().map(|spec| spec.retry_of.as_ref().map(retry_of)));
        self.push_sparse(Type::TEXT_ARRAY, specs().map(|spec| Some(Json(&spec.payload))));
    }

    fn changes(&mut self, plan: &'p Plan, order: &'p Order) {
        let planned = || order.changes.iter().map(|at| &plan.jobs[*at]);
        let last = |job: &PlannedJob| job.events.clone().last().map(|at| place(order.called[at]));
        self.push_sparse(Type::INT4_ARRAY, planned().map(|job| Some(order.tenant_of(plan, job))));
        self.push_sparse(Type::UUID_ARRAY, planned().map(|job| Some(Id(*job.job.id.as_bytes()))));
        self.push_sparse(Type::INT8_ARRAY, planned().map(|job| job.before));
        self.push_sparse(Type::INT4_ARRAY, planned().map(last));
        self.states(|| planned().map(|planned| &planned.job));
    }
}

impl Plan {
    /// Nothing but events, new jobs without a unique key, and changes of jobs without a limit, each in a unit of its own.
    fn is_plain(&self) -> bool {
        let mut touched = vec![false; self.tenants.len()];
        let mut jobs = vec![0_usize; self.units.len()];
        for event in &self.events {
            touched[self.units[event.unit].tenant] = true;
        }
        for planned in &self.jobs {
            touched[self.units[planned.unit].tenant] = true;
            jobs[planned.unit] += 1;
        }
        let plain = |planned: &PlannedJob| {
            planned.limit.is_none()
                && match planned.before {
                    None => planned.job.spec.unique_key.is_none(),
                    Some(_) => jobs[planned.unit] == 1,
                }
        };
        self.keys.is_empty()
            && self.tickets.is_empty()
            && self.moved.is_empty()
            && self.schedules.is_empty()
            && self.units.iter().all(|unit| !unit.any_state)
            // Where nothing is written, no counter row is either.
            && touched.iter().all(|touched| *touched)
            && self.jobs.iter().all(plain)
    }
}

/// The answer in the plan's own order: a verdict for each unit.
pub(super) fn read(row: &Row, plan: &Plan, order: &Order) -> codec::Result<Written> {
    let at = Columns::of(row);
    let codes: Option<Vec<i16>> = at.get(0)?;
    let names: Vec<Option<String>> = codec::list(row, 1)?;
    let bases: Vec<Option<i64>> = codec::list(row, 2)?;
    let times: Vec<Option<i64>> = codec::list(row, 3)?;
    let moved: Vec<i32> = codec::list(row, 4)?;
    let count = plan.tenants.len();
    let (mut tenants, mut epochs) = (vec![None; count], vec![None; count]);
    let mut verdicts = vec![Verdict::Done; count];
    for (rank, place) in order.tenants.iter().enumerate() {
        tenants[*place] = head(bases.get(rank).copied().flatten(), times.get(rank).copied().flatten());
        epochs[*place] = epoch(names.get(rank).and_then(Option::as_deref));
        if let Some(codes) = &codes {
            verdicts[*place] = Verdict::read(at, codes.get(rank).copied().unwrap_or(-1))?;
        }
    }
    let mut verdicts: Vec<Verdict> = plan.units.iter().map(|unit| verdicts[unit.tenant]).collect();
    for change in moved {
        let job = order.changes.get(change as usize - 1).map(|at| &plan.jobs[*at]);
        let job = job.ok_or_else(|| at.unreadable(4, &format!("there is no change {change}")))?;
        let verdict = &mut verdicts[job.unit];
        if *verdict == Verdict::Done {
            *verdict = Verdict::Moved;
        }
    }
    Ok(Written { verdicts, tenants, epochs, repeats: Vec::new(), now: at.time(5)? })
}
