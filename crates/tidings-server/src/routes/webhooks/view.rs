use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use tidings_core::{Endpoint, Timestamp};
use tidings_store::EndpointBacklog;

use crate::body;

/// The endpoint as an answer; `secret` only where it was made just now.
pub(super) fn answer(
    status: StatusCode,
    endpoint: &Endpoint,
    secret: Option<&str>,
    now: Timestamp,
) -> Response {
    let mut shown = endpoint.to_json(now);
    if let Some(secret) = secret {
        shown["secret"] = json!(secret);
    }
    body::json(status, &shown)
}

pub(super) fn backlog(backlog: &EndpointBacklog) -> Value {
    let mut shown = json!({ "head": backlog.head, "retrying": backlog.retrying, "dead": backlog.dead });
    if let Some(oldest) = backlog.oldest {
        shown["oldest"] = json!(oldest);
    }
    shown
}
