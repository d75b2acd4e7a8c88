use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::KeyId;
use tidings_store::Store;

use crate::{
    access::KeyAccess,
    body,
    params::Params,
    problem::{Kind, Problem},
    refusal,
    routes::list_text,
};

use super::{is_visible, view::KeyView};

/// List keys, newest first, revoked ones included.
#[utoipa::path(
    get, path = "/api/v1/keys", tag = "keys",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "100 where absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "A page", body = crate::openapi::KeyPage)),
)]
pub(crate) async fn list(
    access: KeyAccess,
    State(store): State<Arc<dyn Store>>,
    mut params: Params,
) -> Result<Response, Problem> {
    let limit = params.take_number("limit", 1..=1_000)?.unwrap_or(100) as usize;
    let before = before(&mut params)?;
    params.finish()?;
    let page = store.keys(access.tenant.as_ref(), before, limit).await.map_err(|e| refusal::of_read(&e))?;
    let next = page.last().filter(|_| page.len() == limit).map(|last| last.id.to_string());
    let shown = page.iter().filter(|record| is_visible(&access, record));
    let texts: Vec<_> =
        shown.map(|r| serde_json::to_vec(&KeyView::from(r)).expect("a key serialises")).collect();
    Ok(body::raw(StatusCode::OK, list_text("keys", texts.iter().map(Vec::as_slice), next.as_deref())))
}

fn before(params: &mut Params) -> Result<Option<KeyId>, Problem> {
    let text = params.take_text("cursor")?;
    let bad = || Problem::new(Kind::BadCursor, "The cursor is not `next` of another page of keys.");
    text.map(|text| text.parse().map_err(|_| bad())).transpose()
}
