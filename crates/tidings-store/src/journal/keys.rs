//! What a command concerns: two commands that share a key never meet in one batch. All that share one
//! go through one lane, in order of arrival.

use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::FixedState;
use smallvec::SmallVec;
use tidings_core::{EndpointId, JobId, NewJob, ScheduleId, TenantId};

use crate::{Command, Idempotency, Operation};

/// Hashes: a collision only puts a command into a later batch than it needed.
pub(super) type Keys = SmallVec<[u64; 2]>;

pub(super) fn of(command: &Command) -> Keys {
    let mut keys = Keys::new();
    match command {
        Command::Tenant { tenant, operation, .. } => of_operation(tenant, operation, &mut keys),
        Command::Claim(_) => {}
        Command::PutOperatorKey(key) => keys.push(hash(("key", key.id))),
        Command::RevokeOperatorKey(id) => keys.push(hash(("key", id))),
        Command::Maintain(_) => keys.push(hash("maintain")),
    }
    keys
}

fn of_operation(tenant: &TenantId, operation: &Operation, keys: &mut Keys) {
    match operation {
        Operation::Enqueue { jobs, idempotency } => {
            for job in jobs {
                of_new_job(tenant, job, keys);
            }
            of_idempotency(tenant, idempotency.as_ref(), keys);
        }
        Operation::EnqueueLeased { job, .. } => of_new_job(tenant, job, keys),
        Operation::Publish { idempotency, .. } => of_idempotency(tenant, idempotency.as_ref(), keys),
        Operation::Heartbeat { job, .. }
        | Operation::Progress { job, .. }
        | Operation::Complete { job, .. }
        | Operation::Fail { job, .. }
        | Operation::Release { job, .. }
        | Operation::Cancel { job } => keys.push(job_key(*job)),
        Operation::Retry { job, id, idempotency } => {
            keys.extend([job_key(*job), job_key(*id)]);
            of_idempotency(tenant, idempotency.as_ref(), keys);
        }
        Operation::PutSchedule { id, spec, replaces } => {
            keys.push(schedule_key(replaces.unwrap_or(*id)));
            keys.push(hash(("schedule name", tenant, &spec.name)));
        }
        Operation::PauseSchedule(id) | Operation::ResumeSchedule(id) | Operation::DeleteSchedule(id) => {
            keys.push(schedule_key(*id));
        }
        Operation::PutEndpoint(new) => keys.push(endpoint_key(new.id)),
        Operation::ChangeEndpoint { id, .. }
        | Operation::DeleteEndpoint(id)
        | Operation::Replay { endpoint: id, .. } => keys.push(endpoint_key(*id)),
        Operation::Report(report) => keys.push(endpoint_key(report.endpoint)),
        Operation::PauseEndpointsOf(user) => keys.push(hash(("endpoints of", tenant, user))),
        Operation::Ensure
        | Operation::Create
        | Operation::SetState(_)
        | Operation::Delete
        | Operation::RenewEpoch => keys.push(hash(("tenant", tenant))),
        Operation::PutKey(key) => keys.push(hash(("key", key.id))),
        Operation::RevokeKey(id) => keys.push(hash(("key", id))),
        Operation::RedeemTicket { id, .. } => keys.push(hash(("ticket", tenant, id))),
    }
}

fn of_new_job(tenant: &TenantId, job: &NewJob, keys: &mut Keys) {
    keys.push(job_key(job.id));
    if let Some(unique_key) = &job.spec.unique_key {
        keys.push(hash(("unique", tenant, &job.spec.job_type, unique_key)));
    }
}

fn of_idempotency(tenant: &TenantId, idempotency: Option<&Idempotency>, keys: &mut Keys) {
    if let Some(Idempotency { route, key, .. }) = idempotency {
        keys.push(hash(("idempotency", tenant, route, key)));
    }
}

/// A job's id is the same in whichever tenant a caller names it; in another than its own it finds nothing.
fn job_key(id: JobId) -> u64 {
    hash(("job", id))
}

fn schedule_key(id: ScheduleId) -> u64 {
    hash(("schedule", id))
}

fn endpoint_key(id: EndpointId) -> u64 {
    hash(("endpoint", id))
}

fn hash(value: impl Hash) -> u64 {
    FixedState::default().hash_one(value)
}
