use std::borrow::Cow;

use serde::Serialize;

/// A type of problem that a stream can tell of: the same as the HTTP API's.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ProblemKind {
    #[serde(rename = "type")]
    pub uri: &'static str,
    pub title: &'static str,
    pub status: u16,
}

/// What `stream.error` carries.
#[derive(Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(flatten)]
    kind: &'static ProblemKind,
    detail: Cow<'static, str>,
}

impl Problem {
    pub(crate) fn new(kind: &'static ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

macro_rules! problems {
    ($($name:ident = $slug:literal, $status:literal, $title:literal;)+) => {
        $(pub(crate) static $name: ProblemKind =
            ProblemKind { uri: concat!("urn:tidings:problem:", $slug), title: $title, status: $status };)+

        /// Every type of problem that `stream.error` has.
        pub static PROBLEMS: &[&ProblemKind] = &[$(&$name),+];
    };
}

problems! {
    BAD_FILTER = "bad-filter", 400, "The filter is not valid";
    MALFORMED_JSON = "malformed-json", 400, "The body is not valid JSON";
    UNAUTHORIZED = "unauthorized", 401, "A valid credential is required";
    FORBIDDEN = "forbidden", 403, "The credential does not allow this";
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type", 415, "The content type is not supported";
    INVALID_BODY = "invalid-body", 422, "The body is not valid";
    RATE_LIMITED = "rate-limited", 429, "Too many requests";
    UNAVAILABLE = "unavailable", 503, "The server is not available";
}
