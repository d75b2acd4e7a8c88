use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::{EndpointId, webhook::Replay};
use tidings_store::Store;

use crate::{
    access::{Access, may},
    body,
    ids::Ids,
    path::Id,
    problem::Problem,
    refusal,
};

use super::{kept, view, visible};

/// Show an endpoint, how far behind it is, and what it is being sent again.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "show_webhook",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, description = "The endpoint", body = crate::openapi::Webhook)),
)]
pub(crate) async fn show(
    access: Access<may::ManageWebhooks>,
    Id(id): Id<EndpointId>,
    State(store): State<Arc<dyn Store>>,
    State(ids): State<Ids>,
) -> Result<Response, Problem> {
    let endpoint = visible(&*store, &access, id).await?;
    let webhooks = kept(&*store)?;
    let backlog = webhooks.backlog(&access.tenant, id).await.map_err(|e| refusal::of_read(&e))?;
    let replays = webhooks.replays(&access.tenant, id).await.map_err(|e| refusal::of_read(&e))?;
    let mut shown = endpoint.to_json(ids.now());
    if let Some(backlog) = backlog {
        shown["backlog"] = view::backlog(&backlog);
    }
    shown["replays"] = replays.iter().map(Replay::to_json).collect();
    Ok(body::json(StatusCode::OK, &shown))
}
