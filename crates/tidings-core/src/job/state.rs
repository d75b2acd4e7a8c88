use std::{fmt, str::FromStr};

use crate::{RawJson, Timestamp, WorkerName};

/// The number of a lease of one job: 1, 2, 3, …
pub type LeaseNo = u64;

/// Where a job stands, with what that state knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waits for `run_at`.
    Scheduled {
        run_at: Timestamp,
    },
    /// Due; `run_at` orders jobs of equal priority.
    Queued {
        run_at: Timestamp,
    },
    Running {
        lease: Lease,
        cancel_requested: bool,
    },
    Completed {
        finished_at: Timestamp,
        result: Option<RawJson>,
    },
    Failed {
        finished_at: Timestamp,
    },
    Cancelled {
        finished_at: Timestamp,
    },
}

/// A worker's timed, fenced right to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub worker: WorkerName,
    /// From this moment on the lease is lost.
    pub expires_at: Timestamp,
}

/// A report that ends a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    Complete,
    Fail,
}

/// How far a running job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// Shown from verbosity `detail` up.
    pub message: Option<String>,
}

impl Progress {
    /// Bytes of a message that are kept.
    pub const MESSAGE_MAX: usize = 1_024;
}

/// The state's name: what is stored, shown and listed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateName {
    Scheduled,
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl StateName {
    pub const ALL: [Self; 6] =
        [Self::Scheduled, Self::Queued, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("a state is scheduled, queued, running, completed, failed or cancelled")]
pub struct StateNameError;

impl FromStr for StateName {
    type Err = StateNameError;
    fn from_str(text: &str) -> Result<Self, StateNameError> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or(StateNameError)
    }
}

impl JobState {
    pub const fn name(&self) -> StateName {
        match self {
            Self::Scheduled { .. } => StateName::Scheduled,
            Self::Queued { .. } => StateName::Queued,
            Self::Running { .. } => StateName::Running,
            Self::Completed { .. } => StateName::Completed,
            Self::Failed { .. } => StateName::Failed,
            Self::Cancelled { .. } => StateName::Cancelled,
        }
    }

    pub const fn is_terminal(&self) -> bool {
        self.name().is_terminal()
    }
}
