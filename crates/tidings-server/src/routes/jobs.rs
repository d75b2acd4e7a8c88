//! `/api/v1/jobs`.

pub(crate) mod cancel;
pub(crate) mod enqueue;
pub(crate) mod events;
pub(crate) mod held;
pub(crate) mod list;
pub(crate) mod retry;
pub(crate) mod show;

use tidings_core::{Job, JobId, Principal, Scope, TenantId};
use tidings_store::Store;

use crate::{problem::Problem, refusal};

pub(crate) use cancel::cancel;
pub(crate) use enqueue::{EnqueueRequest, ScheduledJobRequest, enqueue};
pub(crate) use events::events;
pub(crate) use list::list;
pub(crate) use retry::retry;
pub(crate) use show::show;

/// The job, where it is there for whoever may read it.
async fn readable(
    store: &dyn Store,
    principal: &Principal,
    tenant: &TenantId,
    id: JobId,
) -> Result<Job, Problem> {
    let job = store.job(tenant, id).await.map_err(|e| refusal::of_read(&e))?;
    job.filter(|job| principal.job_access().admits(job)).ok_or_else(Problem::not_found)
}

/// The job, where it is there for whoever may change it: one's own for a user, and about one's subjects.
async fn changeable(
    store: &dyn Store,
    principal: &Principal,
    tenant: &TenantId,
    id: JobId,
) -> Result<Job, Problem> {
    let job = store.job(tenant, id).await.map_err(|e| refusal::of_read(&e))?;
    job.filter(|job| may_change(principal, job)).ok_or_else(Problem::not_found)
}

fn may_change(principal: &Principal, job: &Job) -> bool {
    principal.may_act_for(job.spec.owner.as_ref()) && principal.may_write_about(job.spec.subject.as_ref())
}

/// Whether a job is shown with its progress message and its raw error.
fn shows_raw(principal: &Principal) -> bool {
    principal.has(Scope::EventsDetail)
}
