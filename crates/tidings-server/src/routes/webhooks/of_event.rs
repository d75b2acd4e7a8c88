use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde_json::json;
use tidings_core::EndpointId;
use tidings_store::{AttemptPlace, AttemptQuery, Store};

use crate::{
    access::{Access, may},
    body,
    params::Params,
    problem::{Kind, Problem},
    refusal,
    routes::{events::PAGE_BYTES, list_text},
};

use super::{is_visible, kept};

/// What became of one event at all endpoints: its attempts, each endpoint's newest first.
#[utoipa::path(
    get, path = "/api/v1/webhooks/deliveries", tag = "webhooks", operation_id = "event_deliveries",
    params(
        ("seq" = u64, Query, description = "The event"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "100 where absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "A page; `next` is absent on the last one", body = crate::openapi::DeliveryPage)),
)]
pub(crate) async fn of_event(
    access: Access<may::ManageWebhooks>,
    State(store): State<Arc<dyn Store>>,
    mut params: Params,
) -> Result<Response, Problem> {
    let limit = params.take_number("limit", 1..=1_000)?.unwrap_or(100) as usize;
    let seq = params.take_seq("seq")?;
    let before = params.take_text("cursor")?.map(|text| place(&text)).transpose()?;
    params.finish()?;
    let missing = || Problem::new(Kind::BadParameter, "The parameter seq is needed: the event's number.");
    let seq = seq.ok_or_else(missing)?;
    let webhooks = kept(&*store)?;
    let query = AttemptQuery { endpoint: None, seq: Some(seq), before, limit, bytes: PAGE_BYTES };
    let page = webhooks.attempts(&access.tenant, query).await.map_err(|e| refusal::of_read(&e))?;
    let next = query.next_before(&page);
    let mut seen: HashMap<EndpointId, bool> = HashMap::new();
    let mut texts = Vec::with_capacity(page.len());
    for logged in &page {
        let id = logged.place.endpoint;
        let shown = match seen.entry(id) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let found = webhooks.endpoint(&access.tenant, id).await.map_err(|e| refusal::of_read(&e))?;
                *entry.insert(found.is_some_and(|found| is_visible(&access.principal, &found)))
            }
        };
        if shown {
            let mut item = logged.attempt.to_json();
            item["endpoint_id"] = json!(id);
            texts.push(serde_json::to_vec(&item).expect("JSON serialises"));
        }
    }
    let next = next.map(|place| format!("{}.{}", place.endpoint, place.n));
    Ok(body::raw(StatusCode::OK, list_text("deliveries", texts.iter().map(Vec::as_slice), next.as_deref())))
}

fn place(text: &str) -> Result<AttemptPlace, Problem> {
    let read = || {
        let (endpoint, n) = text.split_once('.')?;
        Some(AttemptPlace { endpoint: endpoint.parse().ok()?, n: n.parse().ok()? })
    };
    let bad = || Problem::new(Kind::BadCursor, "The cursor is not `next` of another page of deliveries.");
    read().ok_or_else(bad)
}
