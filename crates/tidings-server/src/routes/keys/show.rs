use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::KeyId;
use tidings_store::Store;

use crate::{access::KeyAccess, body, path::Id, problem::Problem};

use super::{view::KeyView, visible};

/// Show a key, without its secret.
#[utoipa::path(
    get, path = "/api/v1/keys/{id}", tag = "keys",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, description = "The key", body = crate::openapi::Key)),
)]
pub(crate) async fn show(
    access: KeyAccess,
    Id(id): Id<KeyId>,
    State(store): State<Arc<dyn Store>>,
) -> Result<Response, Problem> {
    let record = visible(&*store, &access, id).await?;
    Ok(body::json(StatusCode::OK, &KeyView::from(&record)))
}
