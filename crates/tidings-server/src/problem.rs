//! What the HTTP API says when it does not do as asked (RFC 9457).
//!
//! A [`Problem`] is made where something is refused; [`render`] gives it the request's id on the way
//! out. Whoever builds one states the [`Kind`], which decides the status, and a `detail` that a person
//! can act on.

mod kind;
mod render;

use std::{borrow::Cow, time::Duration};

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, header};
use serde::Serialize;
use serde_json::{Map, Value};

pub use kind::Kind;
pub(crate) use render::render;

/// One refusal.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), members: Map::new(), headers: Vec::new() }
    }

    /// The one answer to an id that is not there, or not there for whoever asks.
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "There is nothing of that id here.")
    }

    /// Adds a member of this kind's own to the body.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again, in whole seconds rounded up.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        self
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// A member of this kind's own.
    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The body; `request_id` is absent until the answer leaves.
    pub fn to_json(&self, request_id: Option<&str>) -> Vec<u8> {
        let body = Body {
            r#type: self.kind.uri(),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            detail: &self.detail,
            members: &self.members,
            request_id,
        };
        serde_json::to_vec(&body).expect("a map of JSON values serialises")
    }
}

/// Members in the order that people read them.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.to_json(None);
        let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        let mut response = (self.kind.status(), content_type, body).into_response();
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_standard_members_and_its_own() {
        let problem = Problem::new(Kind::CursorGone, "It has expired.").with("reason", "expired");
        let body: Value = serde_json::from_slice(&problem.to_json(Some("r-1"))).expect("JSON");
        assert_eq!(
            body,
            serde_json::json!({
                "type": "urn:tidings:problem:cursor-gone", "title": "The cursor has no place in this log",
                "status": 410, "detail": "It has expired.", "reason": "expired", "request_id": "r-1"
            })
        );
    }

    #[test]
    fn a_wait_is_rounded_up_so_that_nobody_returns_early() {
        let problem = Problem::new(Kind::Busy, "x").retry_after(Duration::from_millis(1_001));
        let response = problem.into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
