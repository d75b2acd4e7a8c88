//! `/api/v1/leases`: what workers do.

pub(crate) mod claim;
pub(crate) mod complete;
pub(crate) mod fail;
pub(crate) mod heartbeat;
pub(crate) mod progress;
pub(crate) mod release;
pub(crate) mod stop;

use serde::Deserialize;
use tidings_core::Job;
use tidings_store::{Command, Journal, Operation, Outcome};

use crate::{access::WorkAccess, body, leases::LeaseToken, problem::Problem, routes::submit};

pub(crate) use claim::claim;
pub(crate) use complete::complete;
pub(crate) use fail::fail;
pub(crate) use heartbeat::heartbeat;
pub(crate) use progress::progress;
pub(crate) use release::release;
pub(crate) use stop::stop;

/// A body in which nothing is said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Another tenant's lease is answered as one that never was.
fn own(access: &WorkAccess, lease: &LeaseToken) -> Result<(), Problem> {
    if access.tenants.contains(&lease.tenant) { Ok(()) } else { Err(Problem::not_found()) }
}

/// Reports on a lease; answers the job as it then is.
async fn report(journal: &Journal, lease: &LeaseToken, operation: Operation) -> Result<Box<Job>, Problem> {
    let command = Command::Tenant { tenant: lease.tenant.clone(), create: false, operation };
    match submit(journal, command).await? {
        Outcome::Job(job) => Ok(job),
        other => unreachable!("a report is answered by the job, not by {other:?}"),
    }
}

fn shown(job: &Job) -> axum::response::Response {
    body::raw(http::StatusCode::OK, job.to_json(false).as_bytes().to_vec())
}
