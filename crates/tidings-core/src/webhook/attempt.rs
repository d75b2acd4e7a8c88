use std::{fmt, str::FromStr, time::Duration};

use bytes::Bytes;

use crate::{EventId, Seq, Timestamp};

/// One HTTP try, as the delivery log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub seq: Seq,
    pub event: EventId,
    /// 1 for the first try of this event.
    pub number: u32,
    pub at: Timestamp,
    /// Until the answer, or until it failed.
    pub latency: Duration,
    /// `None`: no answer came.
    pub status: Option<u16>,
    pub request_bytes: u32,
    /// Of the body, as far as it was read.
    pub answer_bytes: u32,
    /// How the answer's body began; at most [`Attempt::ANSWER_MAX`] bytes.
    pub answer: Bytes,
    /// `None`: it was delivered.
    pub failure: Option<AttemptFailure>,
    /// When it is tried again; `None` where it is not.
    pub next_at: Option<Timestamp>,
}

impl Attempt {
    pub const ANSWER_MAX: usize = 4 * 1_024;
}

/// Why a try failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptFailure {
    /// The guard does not connect there: nothing was sent.
    Refused,
    /// The name has no address.
    Resolve,
    Connect,
    Tls,
    /// No answer in time, or not the whole of it.
    Timeout,
    /// The connection ended before the answer did.
    Closed,
    /// What came was no HTTP, or headers beyond bounds.
    Protocol,
    /// Redirects are not followed.
    Redirect,
    /// An answer that is no success.
    Status,
    /// 429 or 503: it asked for less, or for later.
    Throttled,
    /// 410: the receiver is gone for good.
    Gone,
    /// Signing or building the request failed here.
    Internal,
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("there is no such failure of an attempt")]
pub struct AttemptFailureError;

impl AttemptFailure {
    pub const ALL: [Self; 12] = [
        Self::Refused,
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Closed,
        Self::Protocol,
        Self::Redirect,
        Self::Status,
        Self::Throttled,
        Self::Gone,
        Self::Internal,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Throttled => "throttled",
            Self::Gone => "gone",
            Self::Internal => "internal",
        }
    }

    /// As a store keeps it.
    pub const fn code(self) -> i16 {
        self as i16
    }

    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| failure.code() == code)
    }
}

impl fmt::Display for AttemptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AttemptFailure {
    type Err = AttemptFailureError;
    fn from_str(text: &str) -> Result<Self, AttemptFailureError> {
        Self::ALL.into_iter().find(|failure| failure.as_str() == text).ok_or(AttemptFailureError)
    }
}
