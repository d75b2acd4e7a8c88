use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde_json::Value;
use tidings_core::{Endpoint, EndpointId, StrictObject, parse_duration, webhook::SecretKind};
use tidings_store::{EndpointChange, Operation, Store};

use crate::{
    access::{Access, may},
    body::{OptionalJson, invalid},
    endpoints::{Endpoints, Wanted},
    ids::Ids,
    path::Id,
    problem::Problem,
    webhooks::Changes,
};

use super::{
    request::{finish, secret_kind},
    submit, view, visible,
};

const OVERLAP: Duration = Duration::from_hours(24);
const OVERLAP_MAX: Duration = Duration::from_hours(7 * 24);

/// Give an endpoint another secret. Its predecessors sign beside it for `overlap`. The answer alone shows it.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/rotate-secret", tag = "webhooks", operation_id = "rotate_webhook_secret",
    params(("id" = String, Path, format = "uuid")), request_body = crate::openapi::WebhookRotate,
    responses((status = 200, description = "The endpoint, with its new secret", body = crate::openapi::Webhook)),
)]
pub(crate) async fn rotate_secret(
    access: Access<may::ManageWebhooks>,
    Id(id): Id<EndpointId>,
    State(store): State<Arc<dyn Store>>,
    State(changes): State<Changes>,
    State(endpoints): State<Endpoints>,
    State(ids): State<Ids>,
    OptionalJson(StrictObject(mut fields)): OptionalJson<StrictObject>,
) -> Result<Response, Problem> {
    let (wanted, overlap) =
        (secret_kind(fields.remove("secret_kind").as_ref())?, overlap(fields.remove("overlap"))?);
    finish(&fields)?;
    let before = visible(&*store, &access, id).await?;
    let wanted = wanted.unwrap_or_else(|| newest(&before));
    let (secret, text) = endpoints.new_secret(&access.tenant, id, wanted, ids.now());
    let change = EndpointChange::Rotate { secret, overlap };
    let rotated = submit(&changes, access.command(Operation::ChangeEndpoint { id, change })?).await?;
    Ok(view::answer(StatusCode::OK, &rotated, Some(&text), ids.now()))
}

fn newest(endpoint: &Endpoint) -> Wanted {
    match endpoint.secrets.last().map(|secret| &secret.kind) {
        Some(SecretKind::V1a { .. }) => Wanted::V1a,
        Some(SecretKind::V1) | None => Wanted::V1,
    }
}

fn overlap(value: Option<Value>) -> Result<Duration, Problem> {
    let Some(value) = value else { return Ok(OVERLAP) };
    let parsed = value.as_str().and_then(|text| parse_duration(text).ok());
    parsed
        .filter(|overlap| *overlap <= OVERLAP_MAX)
        .ok_or_else(|| invalid("$.overlap", "it is a duration of at most 7d, such as 24h"))
}
