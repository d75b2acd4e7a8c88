use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use tidings_core::EndpointId;
use tidings_store::{Operation, Store};

use crate::{
    access::{Access, may},
    path::Id,
    problem::Problem,
    webhooks::Changes,
};

use super::visible;

/// Delete an endpoint, with its dead letters and its delivery log.
#[utoipa::path(
    delete, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "delete_webhook",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 204, description = "Deleted")),
)]
pub(crate) async fn delete(
    access: Access<may::ManageWebhooks>,
    Id(id): Id<EndpointId>,
    State(store): State<Arc<dyn Store>>,
    State(changes): State<Changes>,
) -> Result<StatusCode, Problem> {
    visible(&*store, &access, id).await?;
    changes.submit(access.command(Operation::DeleteEndpoint(id))?).await?;
    Ok(StatusCode::NO_CONTENT)
}
