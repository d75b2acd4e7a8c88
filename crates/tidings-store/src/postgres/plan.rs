//! What one call of `tidings.commit` is to do: units, and the rows that each consists of.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tidings_core::{Job, NewEvent, Schedule, TenantId, Timestamp, job::Step};

use crate::Idempotency;

/// The place of a unit in its plan.
pub(super) type UnitNo = usize;

/// Units that one transaction does, each whole or not at all.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) tenants: Vec<PlannedTenant>,
    places: HashMap<TenantId, usize, RandomState>,
    pub(super) units: Vec<Unit>,
    pub(super) events: Vec<PlannedEvent>,
    pub(super) jobs: Vec<PlannedJob>,
    pub(super) keys: Vec<PlannedKey>,
    pub(super) tickets: Vec<PlannedTicket>,
    pub(super) moved: Vec<(UnitNo, i64)>,
    pub(super) schedules: Vec<PlannedSchedule>,
}

#[derive(Debug)]
pub(super) struct PlannedTenant {
    pub(super) id: TenantId,
    pub(super) create: bool,
}

#[derive(Debug)]
pub(super) struct Unit {
    pub(super) tenant: usize,
    /// A suspended tenant is no hindrance.
    pub(super) any_state: bool,
}

#[derive(Debug)]
pub(super) struct PlannedEvent {
    pub(super) unit: UnitNo,
    pub(super) fact: NewEvent,
}

#[derive(Debug)]
pub(super) struct PlannedJob {
    pub(super) unit: UnitNo,
    /// The version that the change was decided on; `None` for a new job.
    pub(super) before: Option<i64>,
    /// The places of its events.
    pub(super) events: std::ops::Range<usize>,
    /// How many jobs of its type may run once it does.
    pub(super) limit: Option<u32>,
    pub(super) job: Job,
}

#[derive(Debug)]
pub(super) struct PlannedKey {
    pub(super) unit: UnitNo,
    pub(super) key: Idempotency,
    /// `None`: only looked at.
    pub(super) outcome: Option<String>,
}

#[derive(Debug)]
pub(super) struct PlannedTicket {
    pub(super) unit: UnitNo,
    pub(super) id: [u8; 16],
    pub(super) expires_at: Timestamp,
}

/// Where a schedule stands once its unit is done.
#[derive(Debug)]
pub(super) struct PlannedSchedule {
    pub(super) unit: UnitNo,
    /// The version that was decided on.
    pub(super) before: i64,
    pub(super) schedule: Schedule,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    pub(super) fn unit(&mut self, tenant: &TenantId, create: bool, any_state: bool) -> UnitNo {
        let place = *self.places.entry(tenant.clone()).or_insert_with(|| {
            self.tenants.push(PlannedTenant { id: tenant.clone(), create: false });
            self.tenants.len() - 1
        });
        self.tenants[place].create |= create;
        self.units.push(Unit { tenant: place, any_state });
        self.units.len() - 1
    }

    pub(super) fn event(&mut self, unit: UnitNo, fact: NewEvent) {
        self.events.push(PlannedEvent { unit, fact });
    }

    /// What a transition made of a job, with its events. Returns the job's place.
    pub(super) fn step(
        &mut self,
        unit: UnitNo,
        before: Option<i64>,
        step: Step,
        limit: Option<u32>,
    ) -> usize {
        let first = self.events.len();
        for fact in step.events {
            self.event(unit, fact);
        }
        let events = first..self.events.len();
        self.jobs.push(PlannedJob { unit, before, events, limit, job: step.job });
        self.jobs.len() - 1
    }
}
