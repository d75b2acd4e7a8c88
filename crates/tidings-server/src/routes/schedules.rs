//! `/api/v1/schedules`.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod pause;
pub(crate) mod put;
mod request;
pub(crate) mod show;
pub(crate) mod trigger;
mod view;

use tidings_core::{Principal, Schedule, ScheduleName, TenantId};
use tidings_store::{Command, Journal, Outcome, Store};

use crate::{problem::Problem, refusal};

pub(crate) use create::create;
pub(crate) use delete::delete;
pub(crate) use list::list;
pub(crate) use pause::{pause, resume};
pub(crate) use put::put;
pub(crate) use show::show;
pub(crate) use trigger::trigger;

async fn find(
    store: &dyn Store,
    tenant: &TenantId,
    name: &ScheduleName,
) -> Result<Option<Schedule>, Problem> {
    store.schedule(tenant, name).await.map_err(|e| refusal::of_read(&e))
}

/// The schedule, where it is there for whoever may change it: one's own for a user, and about one's
/// subjects.
async fn changeable(
    store: &dyn Store,
    principal: &Principal,
    tenant: &TenantId,
    name: &ScheduleName,
) -> Result<Schedule, Problem> {
    let schedule = find(store, tenant, name).await?;
    schedule.filter(|schedule| may_change(principal, schedule)).ok_or_else(Problem::not_found)
}

fn may_change(principal: &Principal, schedule: &Schedule) -> bool {
    let job = &schedule.spec.job;
    principal.may_act_for(job.owner.as_ref()) && principal.may_write_about(job.subject.as_ref())
}

/// Commits a change of one schedule.
async fn submit(journal: &Journal, command: Command) -> Result<Schedule, Problem> {
    match crate::routes::submit(journal, command).await? {
        Outcome::Schedule(schedule) => Ok(*schedule),
        other => unreachable!("changing a schedule is answered by it, not by {other:?}"),
    }
}
