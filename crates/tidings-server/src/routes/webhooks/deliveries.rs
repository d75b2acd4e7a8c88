use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde_json::Value;
use tidings_core::{EndpointId, Seq, webhook::Delivery};
use tidings_store::{AttemptPlace, AttemptQuery, DeliveryQuery, Store, Webhooks};

use crate::{
    access::{Access, may},
    body,
    params::Params,
    path::Id,
    problem::{Kind, Problem},
    refusal,
    routes::{events::PAGE_BYTES, list_text},
};

use super::{kept, visible};

/// What became of an endpoint's deliveries: every attempt, newest first; or, with `state`, the events that are
/// `retrying` or `dead`, by seq.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{id}/deliveries", tag = "webhooks", operation_id = "webhook_deliveries",
    params(
        ("id" = String, Path, format = "uuid"),
        ("state" = Option<String>, Query, description = "retrying or dead"),
        ("seq" = Option<u64>, Query, description = "Only attempts of this event"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "100 where absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "A page; `next` is absent on the last one", body = crate::openapi::DeliveryPage)),
)]
pub(crate) async fn deliveries(
    access: Access<may::ManageWebhooks>,
    Id(id): Id<EndpointId>,
    State(store): State<Arc<dyn Store>>,
    mut params: Params,
) -> Result<Response, Problem> {
    let limit = params.take_number("limit", 1..=1_000)?.unwrap_or(100) as usize;
    let (state, seq) = (params.take_text("state")?, params.take_seq("seq")?);
    let cursor = params.take_text("cursor")?.map(|text| place(&text)).transpose()?;
    params.finish()?;
    visible(&*store, &access, id).await?;
    let (webhooks, tenant) = (kept(&*store)?, &access.tenant);
    let page = match (state.as_deref(), seq) {
        (None, seq) => {
            let before = cursor.map(|n| AttemptPlace { endpoint: id, n });
            let query = AttemptQuery { endpoint: Some(id), seq, before, limit, bytes: PAGE_BYTES };
            attempts(webhooks, tenant, query).await?
        }
        (Some(state @ ("dead" | "retrying")), None) => {
            let after = Seq::new(cursor.unwrap_or(0));
            let query = DeliveryQuery { dead: state == "dead", after, limit, bytes: PAGE_BYTES };
            waiting(webhooks, tenant, id, query).await?
        }
        (Some(_), None) => {
            return Err(Problem::new(Kind::BadParameter, "The parameter state is retrying or dead."));
        }
        (Some(_), Some(_)) => {
            return Err(Problem::new(
                Kind::BadParameter,
                "The parameters state and seq exclude one another.",
            ));
        }
    };
    Ok(page.answer())
}

struct Page {
    items: Vec<Value>,
    next: Option<u64>,
}

impl Page {
    fn answer(&self) -> Response {
        let texts: Vec<_> =
            self.items.iter().map(|item| serde_json::to_vec(item).expect("JSON serialises")).collect();
        let next = self.next.map(|next| next.to_string());
        body::raw(StatusCode::OK, list_text("deliveries", texts.iter().map(Vec::as_slice), next.as_deref()))
    }
}

async fn attempts(
    webhooks: &dyn Webhooks,
    tenant: &tidings_core::TenantId,
    query: AttemptQuery,
) -> Result<Page, Problem> {
    let page = webhooks.attempts(tenant, query).await.map_err(|e| refusal::of_read(&e))?;
    let next = query.next_before(&page).map(|place| place.n);
    Ok(Page { items: page.iter().map(|logged| logged.attempt.to_json()).collect(), next })
}

async fn waiting(
    webhooks: &dyn Webhooks,
    tenant: &tidings_core::TenantId,
    id: EndpointId,
    query: DeliveryQuery,
) -> Result<Page, Problem> {
    let page = webhooks.deliveries(tenant, id, query).await.map_err(|e| refusal::of_read(&e))?;
    let next = query.next_after(&page).map(Seq::get);
    Ok(Page { items: page.iter().map(Delivery::to_json).collect(), next })
}

fn place(text: &str) -> Result<u64, Problem> {
    let bad = |_| Problem::new(Kind::BadCursor, "The cursor is not `next` of another page of deliveries.");
    text.parse().map_err(bad)
}
