use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::{EndpointId, StrictObject};
use tidings_store::{EndpointChange, Operation, Store};

use crate::{
    access::{Access, may},
    body::OptionalJson,
    ids::Ids,
    path::Id,
    problem::Problem,
    webhooks::Changes,
};

use super::{
    request::{finish, resume},
    submit, view, visible,
};

/// Stop delivering. What happens meanwhile is kept for it up to `retention.webhook_backlog`.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/pause", tag = "webhooks", operation_id = "pause_webhook",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, description = "Paused", body = crate::openapi::Webhook)),
)]
pub(crate) async fn pause(
    access: Access<may::ManageWebhooks>,
    Id(id): Id<EndpointId>,
    State(store): State<Arc<dyn Store>>,
    State(changes): State<Changes>,
    State(ids): State<Ids>,
) -> Result<Response, Problem> {
    visible(&*store, &access, id).await?;
    let operation = Operation::ChangeEndpoint { id, change: EndpointChange::Pause };
    let paused = submit(&changes, access.command(operation)?).await?;
    Ok(view::answer(StatusCode::OK, &paused, None, ids.now()))
}

/// Deliver again: from the cursor, so that nothing is lost, or from now.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/enable", tag = "webhooks", operation_id = "enable_webhook",
    params(("id" = String, Path, format = "uuid")), request_body = crate::openapi::WebhookEnable,
    responses((status = 200, description = "Active", body = crate::openapi::Webhook)),
)]
pub(crate) async fn enable(
    access: Access<may::ManageWebhooks>,
    Id(id): Id<EndpointId>,
    State(store): State<Arc<dyn Store>>,
    State(changes): State<Changes>,
    State(ids): State<Ids>,
    OptionalJson(StrictObject(mut fields)): OptionalJson<StrictObject>,
) -> Result<Response, Problem> {
    let from = resume(fields.remove("from"))?;
    finish(&fields)?;
    visible(&*store, &access, id).await?;
    let operation = Operation::ChangeEndpoint { id, change: EndpointChange::Enable(from) };
    let enabled = submit(&changes, access.command(operation)?).await?;
    Ok(view::answer(StatusCode::OK, &enabled, None, ids.now()))
}
