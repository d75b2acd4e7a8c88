use std::{fmt, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value};

/// Why a call was not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server said no, and why.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// No answer came: the request may or may not have been done.
    #[error("no answer from {url}")]
    Unreachable { url: String, source: reqwest::Error },
    /// A stream's connection could not be made.
    #[error("no connection to {url}: {why}")]
    Disconnected { url: String, why: String },
    /// An answer came that this client cannot read.
    #[error("the answer of {url} does not read: {why}")]
    Unreadable { url: String, why: String },
    #[error("getting a fresh credential")]
    Credential(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request cannot even be made.
    #[error("{0}")]
    Invalid(String),
}

impl ClientError {
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// The HTTP status of the server's refusal.
    pub fn status(&self) -> Option<u16> {
        self.problem().map(|p| p.status)
    }

    /// Whether the same request may succeed later: no answer, too many requests, or a server that is
    /// overloaded, restarting or without its store.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Refused(problem) => matches!(problem.status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::Unreachable { .. } | Self::Disconnected { .. } => true,
            Self::Unreadable { .. } | Self::Credential(_) | Self::Invalid(_) => false,
        }
    }

    /// How long the server asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.problem().and_then(|p| p.retry_after)
    }
}

/// What the server says is wrong (RFC 9457).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Problem {
    /// Stable: programs decide by it.
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub status: u16,
    #[serde(default)]
    pub detail: String,
    #[serde(default)]
    pub request_id: Option<String>,
    /// From the header `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// Whatever else this type carries.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Problem {
    /// Reads an error's answer; one without a problem body (a proxy's, say) keeps its status and a
    /// short piece of its text.
    pub fn read(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let parsed =
            serde_json::from_slice::<Self>(body).ok().filter(|p| !p.kind.is_empty() || !p.title.is_empty());
        let mut problem = parsed.unwrap_or_else(|| {
            let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
            Self {
                kind: "about:blank".into(),
                title: format!("HTTP status {status}"),
                status,
                detail: text.chars().filter(|c| !c.is_control()).collect(),
                request_id: None,
                retry_after: None,
                more: Map::new(),
            }
        });
        problem.status = status;
        problem.retry_after = retry_after;
        problem
    }

    /// Whether its type ends with `name`, whatever prefix the server's types have.
    pub fn is(&self, name: &str) -> bool {
        self.kind.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with([':', '/', '#']))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.title.as_str(), self.detail.as_str()) {
            ("", "") => write!(f, "HTTP status {}", self.status),
            (title, "") => f.write_str(title),
            ("", detail) => f.write_str(detail),
            (title, detail) => write!(f, "{title}: {detail}"),
        }
    }
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_keeps_what_its_type_carries() {
        let body = br#"{"type":"urn:tidings:problem:expired","title":"Expired","status":410,"detail":"d","oldest":7}"#;
        let problem = Problem::read(410, None, body);
        assert!(problem.is("expired") && !problem.is("pired"));
        assert_eq!(problem.more["oldest"], 7);
        assert_eq!(problem.to_string(), "Expired: d");
    }

    #[test]
    fn a_proxys_answer_is_a_problem_too() {
        let problem = Problem::read(502, None, b"<html>bad\ngateway");
        assert_eq!((problem.status, problem.detail.as_str()), (502, "<html>badgateway"));
        assert!(ClientError::Refused(Box::new(problem)).is_temporary());
    }
}
