//! Each command, against the database. Whatever may be refused is looked at before the first write, so
//! that a refused command leaves nothing behind and needs no savepoint.

mod claim;
mod enqueue;
mod idempotency;
mod keys;
mod publish;
mod report;
mod rescue;
mod retain;
mod retain_webhooks;
mod schedules;
mod tenants;
mod webhooks;

use super::{fault::Stop, txn::Txn};
use crate::{Command, Maintain, Operation, Outcome, Swept};
use tidings_core::TenantId;

impl Txn<'_> {
    pub(super) fn apply(&mut self, command: &Command) -> Result<Outcome, Stop> {
        match command {
            Command::Tenant { tenant, create, operation } => self.operate(tenant, *create, operation),
            Command::Claim(claim) => self.claim(claim).map(Outcome::Claimed),
            Command::PutOperatorKey(key) => self.put_operator_key(key),
            Command::RevokeOperatorKey(id) => self.revoke_operator_key(*id),
            Command::Maintain(Maintain::Rescue { limit }) => self.rescue(*limit).map(Outcome::Swept),
            Command::Maintain(Maintain::Fire { limit }) => self.fire(*limit).map(Outcome::Swept),
            Command::Maintain(Maintain::Retain { retention, limit }) => {
                self.retain(*retention, *limit).map(Outcome::Swept)
            }
            // Nobody but the server writes to this store.
            Command::Maintain(Maintain::MoveOutbox { .. }) => Ok(Outcome::Swept(Swept::default())),
        }
    }

    fn operate(&mut self, tenant: &TenantId, create: bool, operation: &Operation) -> Result<Outcome, Stop> {
        match operation {
            Operation::Enqueue { jobs, idempotency } => {
                self.enqueue(tenant, create, jobs, idempotency.as_ref())
            }
            Operation::EnqueueLeased { job, worker, length } => {
                self.enqueue_leased(tenant, create, job, worker, *length)
            }
            Operation::Publish { events, idempotency } => {
                self.publish(tenant, create, events, idempotency.as_ref())
            }
            Operation::Heartbeat { job, .. }
            | Operation::Progress { job, .. }
            | Operation::Complete { job, .. }
            | Operation::Fail { job, .. }
            | Operation::Release { job, .. }
            | Operation::Cancel { job } => self.change(tenant, create, *job, operation),
            Operation::Retry { job, id, idempotency } => {
                self.retry(tenant, create, *job, *id, idempotency.as_ref())
            }
            Operation::PutSchedule { id, spec, replaces } => {
                self.put_schedule(tenant, create, *id, spec, *replaces)
            }
            Operation::PauseSchedule(id) => self.pause_schedule(tenant, create, *id),
            Operation::ResumeSchedule(id) => self.resume_schedule(tenant, create, *id),
            Operation::DeleteSchedule(id) => self.delete_schedule(tenant, create, *id),
            Operation::PutEndpoint(new) => self.put_endpoint(tenant, create, new),
            Operation::ChangeEndpoint { id, change } => self.change_endpoint(tenant, create, *id, change),
            Operation::DeleteEndpoint(id) => self.delete_endpoint(tenant, create, *id),
            Operation::PauseEndpointsOf(user) => self.pause_endpoints(tenant, user),
            Operation::Replay { endpoint, what } => self.replay(tenant, create, *endpoint, *what),
            Operation::Report(report) => self.report(tenant, create, report),
            Operation::Ensure => self.writable(tenant, create).map(|_| Outcome::Done),
            Operation::Create => self.create(tenant),
            Operation::SetState(state) => self.set_state(tenant, *state),
            Operation::Delete => self.delete(tenant),
            Operation::RenewEpoch => self.renew_epoch(tenant),
            Operation::PutKey(key) => self.put_key(tenant, create, key),
            Operation::RevokeKey(id) => self.revoke_key(tenant, *id),
            Operation::RedeemTicket { id, expires_at } => {
                self.redeem_ticket(tenant, create, *id, *expires_at)
            }
        }
    }
}
