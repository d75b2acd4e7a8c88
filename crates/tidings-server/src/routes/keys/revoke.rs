use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use tidings_auth::Authenticator;
use tidings_core::KeyId;
use tidings_store::{Command, Journal, Operation, Store};

use crate::{access::KeyAccess, path::Id, problem::Problem, routes::submit};

use super::visible;

/// Revoke a key. Connections that it opened are closed with 4401.
#[utoipa::path(
    delete, path = "/api/v1/keys/{id}", tag = "keys",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 204, description = "It counts no longer")),
)]
pub(crate) async fn revoke(
    access: KeyAccess,
    Id(id): Id<KeyId>,
    State(store): State<Arc<dyn Store>>,
    State(journal): State<Journal>,
    State(authenticator): State<Authenticator>,
) -> Result<StatusCode, Problem> {
    visible(&*store, &access, id).await?;
    let command = match &access.tenant {
        Some(_) => access.command(Operation::RevokeKey(id))?,
        None => Command::RevokeOperatorKey(id),
    };
    submit(&journal, command).await?;
    // Else it counts until the next look at revocations, a second later.
    if let Err(error) = authenticator.step().await {
        tracing::warn!(%error, "a revocation will count a little later");
    }
    Ok(StatusCode::NO_CONTENT)
}
