//! What each command comes to, given what was looked at: units of one plan, and how to answer from what becomes
//! of them.

use std::{collections::HashMap, sync::Arc};

use tidings_core::{JobType, TenantId, job::Moment};

use super::{
    super::{
        job_row::Seen,
        kept,
        look::Found,
        outbox::Rejection,
        plan::{Plan, PlannedKey, PlannedTicket, UnitNo},
    },
    answer::Answer,
    looked::Looked,
};
use crate::{Command, CommandError, Idempotency, Maintain, Operation, TenantState, transition};

pub(super) struct Decider<'a> {
    pub(super) limits: Arc<HashMap<JobType, u32>>,
    pub(super) looked: Looked,
    pub(super) plan: Plan,
    /// Rows of the outbox that can be nothing.
    pub(super) rejections: Vec<Rejection>,
    pub(super) at: Moment<'a>,
}

impl Decider<'_> {
    /// Adds a command's units to the plan, or refuses it.
    pub(super) fn command(&mut self, command: &Command, place: usize) -> Result<Answer, CommandError> {
        match command {
            Command::Tenant { tenant, create, operation } => {
                let found = self.looked.jobs.remove(&place);
                self.operation(tenant, *create, operation, found)
            }
            Command::Claim(claim) => self.claim(claim, place),
            Command::Maintain(Maintain::Fire { .. }) => Ok(self.fire(place)),
            Command::Maintain(Maintain::MoveOutbox { create, .. }) => Ok(self.move_outbox(place, *create)),
            Command::Maintain(_) => Ok(self.rescue(place)),
            Command::PutOperatorKey(_) | Command::RevokeOperatorKey(_) => {
                Err(CommandError::Rejected("an operator's key goes alone".into()))
            }
        }
    }

    fn operation(
        &mut self,
        tenant: &TenantId,
        create: bool,
        operation: &Operation,
        found: Option<Found>,
    ) -> Result<Answer, CommandError> {
        if transition::target(operation).is_some() {
            let Seen { version, job } = existing(found, create)?.ok_or(CommandError::NotFound)?;
            let step = transition::apply(operation, job, self.at)?;
            let unit = self.unit(tenant, false);
            let job = self.plan.step(unit, Some(version), step, None);
            return Ok(Answer::Job { unit, job });
        }
        match operation {
            Operation::Enqueue { jobs, idempotency } => {
                let unit = self.unit(tenant, create);
                Ok(self.enqueue(unit, tenant, jobs, idempotency.as_ref()))
            }
            Operation::EnqueueLeased { job, worker, length } => {
                self.enqueue_leased(tenant, create, job, worker, *length)
            }
            Operation::Retry { id, idempotency, .. } => {
                self.retry(tenant, create, *id, idempotency.as_ref(), found)
            }
            Operation::Publish { events, idempotency } => {
                let unit = self.unit(tenant, create);
                let first = self.plan.events.len();
                for fact in events {
                    self.plan.event(unit, fact.clone());
                }
                self.remember(unit, idempotency.as_ref(), || {
                    Some(kept::kept_events(events.iter().map(|event| event.id)))
                });
                Ok(Answer::Published { unit, events: first..self.plan.events.len() })
            }
            Operation::RedeemTicket { id, expires_at } => {
                let unit = self.unit(tenant, create);
                self.plan.tickets.push(PlannedTicket { unit, id: *id, expires_at: *expires_at });
                Ok(Answer::Done { unit })
            }
            _ => Ok(Answer::Done { unit: self.unit(tenant, create) }),
        }
    }

    /// A unit of a tenant that takes writes.
    pub(super) fn unit(&mut self, tenant: &TenantId, create: bool) -> UnitNo {
        self.plan.unit(tenant, create, false)
    }

    pub(super) fn remember(
        &mut self,
        unit: UnitNo,
        key: Option<&Idempotency>,
        outcome: impl FnOnce() -> Option<String>,
    ) {
        if let Some(key) = key {
            self.plan.keys.push(PlannedKey { unit, key: key.clone(), outcome: outcome() });
        }
    }
}

/// The job in a tenant that takes writes. A tenant that could be made has nothing yet, so that nothing is found
/// in it.
pub(super) fn existing(found: Option<Found>, create: bool) -> Result<Option<Seen>, CommandError> {
    let Found { tenant, job } = found.unwrap_or(Found { tenant: None, job: None });
    match tenant {
        Some(TenantState::Active) => Ok(job),
        Some(TenantState::Suspended) => Err(CommandError::TenantSuspended),
        None if create => Err(CommandError::NotFound),
        None => Err(CommandError::UnknownTenant),
    }
}
