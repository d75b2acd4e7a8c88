//! What an error of the database means for what was asked of it.

use tokio_postgres::error::SqlState;

use super::codec::Unreadable;
use crate::{ClusterError, CommitError, OpenError, ReadError};

/// Why a statement did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It was never sent.
    Unsent(String),
    /// It was sent, and nobody knows what became of it.
    Doubtful(String),
    /// The same, since no answer came for as long as one may take; it was cancelled.
    Late(String),
    /// The database took it back, and may do it when asked again.
    Again(String),
    /// The day of an event has no partition yet.
    NoPartition,
    /// The database went over to a timeline that this node has not looked at.
    OtherTimeline,
    /// A value cannot be stored: others may.
    Rejected(String),
    /// The database took it back, and asking again helps only later.
    Unavailable(String),
    /// What came back does not read.
    Unreadable(String),
}

impl Fault {
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else { return Self::Doubtful(told(error)) };
        let text = format!("{} ({})", db.message(), db.code().code());
        let code = db.code();
        if code.code() == "TD001" {
            return Self::OtherTimeline;
        }
        if *code == SqlState::CHECK_VIOLATION && db.constraint().is_none() {
            return Self::NoPartition;
        }
        if [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
        ]
        .contains(code)
        {
            return Self::Again(text);
        }
        match &code.code()[..2] {
            // A server that goes down says so at any moment, also after a commit.
            "08" => Self::Doubtful(text),
            "57" if *code != SqlState::QUERY_CANCELED => Self::Doubtful(text),
            "22" | "23" | "54" => Self::Rejected(text),
            _ => Self::Unavailable(text),
        }
    }

    /// Whether a read is worth asking again at once. One that took too long would take as long again, and whoever
    /// waits has waited enough.
    pub(super) const fn is_passing(&self) -> bool {
        matches!(self, Self::Doubtful(_) | Self::Again(_))
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Unsent(text)
            | Self::Doubtful(text)
            | Self::Late(text)
            | Self::Again(text)
            | Self::Rejected(text)
            | Self::Unavailable(text)
            | Self::Unreadable(text) => text,
            Self::OtherTimeline => "the database is on another timeline",
            Self::NoPartition => "the day of an event has no partition",
        }
    }
}

/// The error with its causes: the driver's own text alone says little.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl From<Unreadable> for Fault {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unreadable(text) => Self::Corrupt(text),
            other => Self::Unavailable(other.text().to_owned()),
        }
    }
}

/// Of something that changes nothing when it fails.
impl From<Fault> for CommitError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable(fault.text().to_owned())
    }
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        Self::Database(fault.text().to_owned())
    }
}

impl From<tokio_postgres::Error> for OpenError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(told(&error))
    }
}

impl From<Fault> for ClusterError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unreadable(text) => Self::Corrupt(text),
            other => Self::Unavailable(other.text().to_owned()),
        }
    }
}
