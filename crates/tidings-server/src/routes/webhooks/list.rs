use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::EndpointId;
use tidings_store::Store;

use crate::{
    access::{Access, may},
    body,
    ids::Ids,
    params::Params,
    problem::{Kind, Problem},
    refusal,
    routes::list_text,
};

use super::{is_visible, kept};

/// List endpoints in the order in which they were made.
#[utoipa::path(
    get, path = "/api/v1/webhooks", tag = "webhooks", operation_id = "list_webhooks",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "100 where absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "A page; `next` is absent on the last one", body = crate::openapi::WebhookPage)),
)]
pub(crate) async fn list(
    access: Access<may::ManageWebhooks>,
    State(store): State<Arc<dyn Store>>,
    State(ids): State<Ids>,
    mut params: Params,
) -> Result<Response, Problem> {
    let limit = params.take_number("limit", 1..=1_000)?.unwrap_or(100) as usize;
    let after: Option<EndpointId> = params.take_text("cursor")?.map(|text| cursor(&text)).transpose()?;
    params.finish()?;
    let page =
        kept(&*store)?.endpoints(&access.tenant, after, limit).await.map_err(|e| refusal::of_read(&e))?;
    let next = page.last().filter(|_| page.len() == limit).map(|last| last.id.to_string());
    let now = ids.now();
    let texts: Vec<_> = page
        .iter()
        .filter(|endpoint| is_visible(&access.principal, endpoint))
        .map(|endpoint| serde_json::to_vec(&endpoint.to_json(now)).expect("an endpoint serialises"))
        .collect();
    Ok(body::raw(StatusCode::OK, list_text("webhooks", texts.iter().map(Vec::as_slice), next.as_deref())))
}

fn cursor(text: &str) -> Result<EndpointId, Problem> {
    let bad = |_| Problem::new(Kind::BadCursor, "The cursor is not `next` of another page of endpoints.");
    text.parse().map_err(bad)
}
