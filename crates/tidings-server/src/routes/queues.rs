//! `/api/v1/queues`.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Serialize;
use tidings_core::{JobType, Timestamp};
use tidings_store::{QueueStats, Store};

use crate::{
    access::{Access, may},
    body,
    params::Params,
    problem::Problem,
    refusal,
};

/// One job type's queue.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Queue {
    #[schema(value_type = String)]
    r#type: JobType,
    scheduled: u64,
    queued: u64,
    running: u64,
    /// When the queued job that has waited longest fell due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest_due: Option<Timestamp>,
    /// Jobs that ended in the last minute.
    finished_last_minute: u64,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Queues {
    queues: Vec<Queue>,
}

/// Depth, age and rate of each job type.
#[utoipa::path(
    get, path = "/api/v1/queues", tag = "jobs",
    responses((status = 200, description = "All queues, by type", body = Queues)),
)]
pub(crate) async fn queues(
    access: Access<may::SeeQueues>,
    State(store): State<Arc<dyn Store>>,
    params: Params,
) -> Result<Response, Problem> {
    params.finish()?;
    let stats = store.queues(&access.tenant).await.map_err(|e| refusal::of_read(&e))?;
    Ok(body::json(StatusCode::OK, &Queues { queues: stats.into_iter().map(Queue::from).collect() }))
}

impl From<QueueStats> for Queue {
    fn from(stats: QueueStats) -> Self {
        let QueueStats { job_type, scheduled, queued, running, oldest_due, finished_last_minute } = stats;
        Self { r#type: job_type, scheduled, queued, running, oldest_due, finished_last_minute }
    }
}
