use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::{EndpointSpec, Seq};
use tidings_store::{Journal, NewEndpoint, Operation};

use crate::{
    access::{Access, may},
    body::JsonText,
    endpoints::Endpoints,
    ids::Ids,
    problem::Problem,
    settings::Settings,
};

use super::{
    request::{EndpointRequest, checked, grant_of, patched},
    submit, view,
};

/// Make an endpoint: what happens from now on, or after `since`, is sent to its URL. The answer alone shows its
/// secret.
#[utoipa::path(
    post, path = "/api/v1/webhooks", tag = "webhooks", operation_id = "create_webhook",
    request_body = crate::openapi::NewWebhook,
    responses((status = 201, description = "The endpoint, with its secret", body = crate::openapi::Webhook)),
)]
pub(crate) async fn create(
    access: Access<may::ManageWebhooks>,
    State(journal): State<Journal>,
    State(settings): State<Settings>,
    State(endpoints): State<Endpoints>,
    State(ids): State<Ids>,
    JsonText(text): JsonText,
) -> Result<Response, Problem> {
    let request = EndpointRequest::read(&text)?;
    let grant = grant_of(&access.principal, &access.tenant)?;
    let spec = patched(&EndpointSpec::default(), request.fields, access.principal.user())?;
    let spec = checked(spec, &grant)?;
    endpoints.judge(&spec.url).await?;
    let (id, now) = (ids.endpoint(), ids.now());
    let (secret, text) = endpoints.new_secret(&access.tenant, id, request.secret, now);
    let new = NewEndpoint {
        id,
        spec,
        grant,
        secrets: vec![secret],
        cursor: request.from.map(Seq::new),
        limit: settings.get().webhooks.endpoints_per_tenant,
    };
    let made = submit(&journal, access.command(Operation::PutEndpoint(Box::new(new)))?).await?;
    Ok(view::answer(StatusCode::CREATED, &made, Some(&text), now))
}
