use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use tidings_core::{JobState, Timestamp};
use tidings_store::{Journal, Operation};

use crate::{
    access::WorkAccess,
    body::{self, OptionalJson},
    drain::Drain,
    leases::{Claimer, LeaseToken},
    path::Id,
    problem::Problem,
};

use super::{Nothing, own, report};

/// The answer to a heartbeat.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Pulse {
    /// When the lease is lost without another heartbeat.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The job is to be cancelled: stop, and report it failed.
    cancel: bool,
    /// The server is stopping: finish this job, and look for others elsewhere or later.
    drain: bool,
}

/// Extend a lease.
#[utoipa::path(
    post, path = "/api/v1/leases/{id}/heartbeat", tag = "leases",
    params(("id" = String, Path, description = "The lease")),
    responses((status = 200, description = "Extended", body = Pulse)),
)]
pub(crate) async fn heartbeat(
    access: WorkAccess,
    Id(lease): Id<LeaseToken>,
    State(journal): State<Journal>,
    State(claimer): State<Claimer>,
    State(drain): State<Drain>,
    _: OptionalJson<Nothing>,
) -> Result<Response, Problem> {
    own(&access, &lease)?;
    let operation =
        Operation::Heartbeat { job: lease.job, lease_no: lease.lease_no, length: claimer.length() };
    let job = report(&journal, &lease, operation).await?;
    claimer.saw_activity();
    match &job.state {
        JobState::Running { lease, cancel_requested } => {
            let pulse =
                Pulse { expires_at: lease.expires_at, cancel: *cancel_requested, drain: drain.has_begun() };
            Ok(body::json(StatusCode::OK, &pulse))
        }
        other => unreachable!("a job whose lease was extended is running, not {}", other.name()),
    }
}
