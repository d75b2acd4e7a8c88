use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::{EndpointSpec, Seq};
use tidings_store::{NewEndpoint, Operation, Store};

use crate::{
    access::{Access, may},
    body::{JsonText, invalid},
    endpoints::Endpoints,
    ids::Ids,
    problem::{Kind, Problem},
    refusal,
    settings::Settings,
    webhooks::Changes,
};

use super::{
    changed,
    request::{EndpointRequest, checked, grant_of, patched},
    view,
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
    State(store): State<Arc<dyn Store>>,
    State(changes): State<Changes>,
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
    if let Some(since) = request.from {
        let log = store.log_state(&access.tenant).await.map_err(|e| refusal::of_read(&e))?;
        let head = log.map_or(Seq::ZERO, |log| log.head);
        if since > head {
            return Err(invalid("$.since", format_args!("the head is {head}")));
        }
    }
    let (id, now) = (ids.endpoint(), ids.now());
    let (secret, text) = endpoints.new_secret(&access.tenant, id, request.secret, now);
    let new = NewEndpoint {
        id,
        spec,
        grant,
        secrets: vec![secret],
        cursor: request.from,
        limit: settings.get().webhooks.endpoints_per_tenant,
    };
    let full = format!(
        "The tenant has {} endpoints, as many as it may have (webhooks.endpoints_per_tenant). Delete one first.",
        new.limit
    );
    let full = Problem::new(Kind::LimitReached, full).with("limit", "webhooks.endpoints_per_tenant");
    let outcome = changes.submit_below(access.command(Operation::PutEndpoint(Box::new(new)))?, full).await?;
    Ok(view::answer(StatusCode::CREATED, &changed(outcome), Some(&text), now))
}
