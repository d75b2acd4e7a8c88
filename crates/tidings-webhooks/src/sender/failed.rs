use std::{error::Error as _, io};

use tidings_core::webhook::AttemptFailure;
use tidings_guard::ConnectError;

/// Why no answer came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    pub(super) failure: AttemptFailure,
    /// The connection had been kept, and was closed before anything came: a new one may do.
    pub(super) stale: bool,
}

impl Failed {
    pub(super) const TIMEOUT: Self = Self::new(AttemptFailure::Timeout);

    pub(super) const fn new(failure: AttemptFailure) -> Self {
        Self { failure, stale: false }
    }

    pub(super) fn on(self, reused: bool) -> Self {
        Self { stale: reused && self.failure == AttemptFailure::Closed, ..self }
    }

    /// What a name leads to is told alike, whether to nothing or to the inside; a literal is what it is.
    pub(super) fn connecting(error: &ConnectError, is_literal: bool) -> Self {
        Self::new(match error {
            ConnectError::Refused(_) if is_literal => AttemptFailure::Refused,
            ConnectError::Refused(_) | ConnectError::Unresolved(_) => AttemptFailure::Resolve,
            ConnectError::TimedOut => AttemptFailure::Timeout,
            ConnectError::Tls(_) => AttemptFailure::Tls,
            _ => AttemptFailure::Connect,
        })
    }

    pub(super) fn http1(error: &hyper::Error) -> Self {
        Self::new(if error.is_user() {
            AttemptFailure::Internal
        } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() || has_io(error) {
            AttemptFailure::Closed
        } else {
            AttemptFailure::Protocol
        })
    }

    pub(super) fn http2(error: &h2::Error) -> Self {
        let not_taken =
            error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM));
        Self::new(if error.is_io() || not_taken || (error.is_reset() && error.is_remote()) {
            AttemptFailure::Closed
        } else {
            AttemptFailure::Protocol
        })
    }
}

fn has_io(error: &hyper::Error) -> bool {
    error.source().is_some_and(<dyn std::error::Error>::is::<io::Error>)
}
