//! One call of `tidings.append`: a plan that only publishes, to tenants that are known to be there.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{Entropy, Epoch, Subject, TenantId, UserId};
use tokio_postgres::{Row, types::Type};

use super::{
    codec::{self, Columns, Id, Json},
    plan::{Plan, PlannedEvent, PlannedTenant},
    write::{Arrays, Verdict, Written, epoch, head, place},
};

/// The statement's parameters, those of the call's head included.
pub(super) const PARAMETERS: usize = 13;
/// What it returns, in the order that [`read`] reads.
pub(super) const COLUMNS: &str = "verdicts, epochs, bases, times, now";

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

/// A plan's tenants in the order in which their rows are locked, and its events in order of these.
pub(super) struct Order {
    /// By place in the call: the place in the plan.
    tenants: Vec<usize>,
    /// How many events each gets.
    counts: Vec<i32>,
    /// Of each event: its tenant's place in the call, its number in its tenant, and its place in the plan.
    events: Vec<(i32, i32, usize)>,
}

impl Order {
    /// `None`: the plan takes more than appending.
    pub(super) fn of(plan: &Plan, epochs: &[Option<Epoch>]) -> Option<Self> {
        if !plan.only_publishes() || epochs.iter().any(Option::is_some) {
            return None;
        }
        let mut tenants: Vec<usize> = (0..plan.tenants.len()).collect();
        tenants.sort_unstable_by(|a, b| plan.tenants[*a].id.as_str().cmp(plan.tenants[*b].id.as_str()));
        let mut ranks = vec![0; tenants.len()];
        for (rank, at) in tenants.iter().enumerate() {
            ranks[*at] = rank;
        }
        let mut counts = vec![0; tenants.len()];
        let mut events: Vec<_> = (0..plan.events.len())
            .map(|at| {
                let rank = ranks[plan.units[plan.events[at].unit].tenant];
                counts[rank] += 1;
                (place(rank), counts[rank], at)
            })
            .collect();
        // Rows of one tenant lie together in the log's index.
        events.sort_unstable();
        counts.iter().all(|count| *count > 0).then_some(Self { tenants, counts, events })
    }
}

impl<'p> Arrays<'p> {
    pub(super) fn appended(plan: &'p Plan, order: &'p Order) -> Self {
        let mut arrays = Self::with_capacity(PARAMETERS);
        let facts = || order.events.iter().map(|(_, _, at)| &plan.events[*at].fact);
        arrays.push(Type::TEXT_ARRAY, order.tenants.iter().map(|at| plan.tenants[*at].id.as_str()));
        arrays.push(Type::INT4_ARRAY, order.counts.iter().copied());
        arrays.push(Type::INT4_ARRAY, order.events.iter().map(|(tenant, _, _)| *tenant));
        arrays.push(Type::INT4_ARRAY, order.events.iter().map(|(_, nth, _)| *nth));
        arrays.push(Type::UUID_ARRAY, facts().map(|fact| Id(*fact.id.as_bytes())));
        arrays.push(Type::TEXT_ARRAY, facts().map(|fact| fact.event_type.as_str()));
        arrays.push(Type::TEXT_ARRAY, facts().map(|fact| fact.owner.as_ref().map(UserId::as_str)));
        arrays.push(Type::TEXT_ARRAY, facts().map(|fact| fact.subject.as_ref().map(Subject::as_str)));
        arrays.push(Type::TEXT_ARRAY, facts().map(|fact| Json(&fact.body.minimal)));
        arrays
    }
}

impl Plan {
    /// Nothing but events without a job that read the same for everybody.
    fn only_publishes(&self) -> bool {
        let plain = |event: &PlannedEvent| {
            event.fact.job.is_none() && event.fact.body.detail.is_none() && event.fact.body.debug.is_none()
        };
        self.jobs.is_empty()
            && self.keys.is_empty()
            && self.tickets.is_empty()
            && self.moved.is_empty()
            && self.schedules.is_empty()
            && self.units.iter().all(|unit| !unit.any_state)
            && self.events.iter().all(plain)
    }
}

/// The answer in the plan's own order: a verdict for each unit.
pub(super) fn read(row: &Row, plan: &Plan, order: &Order) -> codec::Result<Written> {
    let at = Columns::of(row);
    let codes: Option<Vec<i16>> = at.get(0)?;
    let names: Vec<Option<String>> = codec::list(row, 1)?;
    let bases: Vec<Option<i64>> = codec::list(row, 2)?;
    let times: Vec<Option<i64>> = codec::list(row, 3)?;
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
    let verdicts = plan.units.iter().map(|unit| verdicts[unit.tenant]).collect();
    Ok(Written { verdicts, tenants, epochs, repeats: Vec::new(), now: at.time(4)? })
}
