use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde_json::json;
use tidings_core::EndpointId;
use tidings_store::Store;
use tidings_webhooks::{
    dispatcher::{Dispatcher, TestError},
    sender::Attempt,
};

use crate::{
    access::{Access, may},
    body,
    path::Id,
    problem::{Kind, Problem},
    refusal,
};

use super::visible;

/// Send an endpoint a sample event, `webhook.test`, now and in whatever state it is. It is in no log, and its seq is 0. It counts in
/// the tenant's rate, `webhooks.rate_per_tenant`; beyond it: 429.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/test", tag = "webhooks", operation_id = "test_webhook",
    params(("id" = String, Path, format = "uuid")),
    responses((status = 200, description = "What came of it", body = crate::openapi::WebhookTest)),
)]
pub(crate) async fn test(
    access: Access<may::ManageWebhooks>,
    Id(id): Id<EndpointId>,
    State(store): State<Arc<dyn Store>>,
    State(dispatcher): State<Dispatcher>,
) -> Result<Response, Problem> {
    let endpoint = visible(&*store, &access, id).await?;
    let attempt = dispatcher.test(&endpoint).await.map_err(|error| match error {
        TestError::TooMany(wait) => {
            let detail = "The tenant's webhooks have used up their rate (webhooks.rate_per_tenant), in which tests count.";
            let wait = wait.max(Duration::from_millis(1));
            Problem::new(Kind::RateLimited, detail).with("limit", "webhooks.rate_per_tenant").retry_after(wait)
        }
        TestError::Unsigned(error) => {
            tracing::error!(endpoint = %id, %error, "an endpoint cannot be tried");
            refusal::internal()
        }
    })?;
    Ok(body::json(StatusCode::OK, &shown(&attempt)))
}

fn shown(attempt: &Attempt) -> serde_json::Value {
    let mut shown = json!({
        "delivered": attempt.failure.is_none(),
        "latency_ms": u64::try_from(attempt.latency.as_millis()).unwrap_or(u64::MAX),
    });
    if let Some(status) = attempt.status {
        shown["status"] = json!(status);
    }
    if let Some(failure) = attempt.failure {
        shown["failure"] = json!(failure.as_str());
    }
    if !attempt.answer.is_empty() {
        shown["answer"] = json!(String::from_utf8_lossy(&attempt.answer));
    }
    shown
}
