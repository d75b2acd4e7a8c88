use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::EndpointId;
use tidings_store::{EndpointChange, Operation, Store};

use crate::{
    access::{Access, may},
    body::{self, JsonText},
    endpoints::Endpoints,
    ids::Ids,
    path::Id,
    problem::Problem,
    webhooks::Changes,
};

use super::{
    request::{checked, patched},
    submit, view, visible,
};

/// Change an endpoint: a JSON merge patch (RFC 7396) of what it was made with. A filter holds from the cursor on.
#[utoipa::path(
    patch, path = "/api/v1/webhooks/{id}", tag = "webhooks", operation_id = "update_webhook",
    params(("id" = String, Path, format = "uuid")), request_body = crate::openapi::WebhookPatch,
    responses((status = 200, description = "Changed", body = crate::openapi::Webhook)),
)]
pub(crate) async fn update(
    access: Access<may::ManageWebhooks>,
    Id(id): Id<EndpointId>,
    State(store): State<Arc<dyn Store>>,
    State(changes): State<Changes>,
    State(endpoints): State<Endpoints>,
    State(ids): State<Ids>,
    JsonText(text): JsonText,
) -> Result<Response, Problem> {
    let before = visible(&*store, &access, id).await?;
    let spec = patched(&before.spec, body::object(&text)?, access.principal.user())?;
    let spec = checked(spec, &before.grant)?;
    if spec.url != before.spec.url {
        endpoints.judge(&spec.url).await?;
    }
    let change = EndpointChange::Spec { spec: Box::new(spec), seen: before.change };
    let after = submit(&changes, access.command(Operation::ChangeEndpoint { id, change })?).await?;
    Ok(view::answer(StatusCode::OK, &after, None, ids.now()))
}
