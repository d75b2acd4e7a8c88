use std::time::Duration;

/// What a WebSocket is closed with; on SSE it is the `code` of `stream.closing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    Normal = 1000,
    GoingAway = 1001,
    Protocol = 1002,
    InvalidData = 1007,
    Policy = 1008,
    TooBig = 1009,
    Internal = 1011,
    Restart = 1012,
    TryLater = 1013,
    CredentialEnded = 4401,
    Forbidden = 4403,
    Lagged = 4408,
    RateLimited = 4429,
}

impl CloseCode {
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::GoingAway => "going_away",
            Self::Protocol => "protocol_error",
            Self::InvalidData => "invalid_data",
            Self::Policy => "policy",
            Self::TooBig => "too_big",
            Self::Internal => "internal",
            Self::Restart => "shutdown",
            Self::TryLater => "try_later",
            Self::CredentialEnded => "credential_ended",
            Self::Forbidden => "forbidden",
            Self::Lagged => "lagged",
            Self::RateLimited => "rate_limited",
        }
    }
}

/// Why the server closes a connection, as the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseReason {
    pub code: CloseCode,
    pub reason: &'static str,
    /// When the client should come back.
    pub reconnect_after: Option<Duration>,
}

impl CloseReason {
    pub const fn new(code: CloseCode, reason: &'static str) -> Self {
        Self { code, reason, reconnect_after: None }
    }

    pub const fn expired() -> Self {
        Self::new(CloseCode::CredentialEnded, "the credential has expired")
    }

    pub const fn revoked() -> Self {
        Self::new(CloseCode::CredentialEnded, "the credential was revoked")
    }

    pub const fn try_later(reason: &'static str, reconnect_after: Duration) -> Self {
        Self { code: CloseCode::TryLater, reason, reconnect_after: Some(reconnect_after) }
    }

    pub const fn restart(reconnect_after: Duration) -> Self {
        Self {
            code: CloseCode::Restart,
            reason: "the server restarts",
            reconnect_after: Some(reconnect_after),
        }
    }
}

/// How a connection ended, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The server closed it.
    Closed(CloseCode),
    /// The client closed it, by a close frame or by going away.
    Client,
    /// The socket failed.
    Broken,
    /// The socket took nothing for too long.
    Stalled,
    /// Nothing came from the client for too long, not even a pong.
    Silent,
    /// The drain's window was over.
    Cut,
    /// Its step panicked.
    Panicked,
}

impl Ending {
    /// The metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed(code) => code.label(),
            Self::Client => "client",
            Self::Broken => "broken",
            Self::Stalled => "stalled",
            Self::Silent => "timeout",
            Self::Cut => "cut",
            Self::Panicked => "panic",
        }
    }
}
