use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tidings_core::UserId;
use tidings_store::{Operation, Outcome};

use crate::{
    access::{Access, forbidden, may},
    body::{self, Json},
    problem::Problem,
    webhooks::Changes,
};

/// Whose endpoints are to be paused.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PauseWebhooks)]
pub(crate) struct PauseRequest {
    #[schema(value_type = String)]
    user: UserId,
}

/// Pause every active endpoint that carries a user's grant, as when its access ends: what it reads with is no more.
#[utoipa::path(
    post, path = "/api/v1/webhooks/pause", tag = "webhooks", operation_id = "pause_webhooks_of_user",
    request_body = PauseRequest,
    responses((status = 200, description = "How many were paused", body = crate::openapi::PausedWebhooks)),
)]
pub(crate) async fn pause_user(
    access: Access<may::ManageWebhooks>,
    State(changes): State<Changes>,
    Json(request): Json<PauseRequest>,
) -> Result<Response, Problem> {
    if !access.principal.may_act_for(Some(&request.user)) {
        return Err(forbidden(
            "Your credential stands for a user and may pause that user's endpoints alone.",
        ));
    }
    let command = access.command(Operation::PauseEndpointsOf(request.user))?;
    match changes.submit(command).await? {
        Outcome::Paused(count) => Ok(body::json(StatusCode::OK, &json!({ "paused": count }))),
        other => unreachable!("pausing is answered by how many, not by {other:?}"),
    }
}
