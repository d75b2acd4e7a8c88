//! A job's state as columns: the same in every store.

use tidings_core::{JobState, RawJson, job::StateName};

pub(crate) const fn code(state: StateName) -> i16 {
    match state {
        StateName::Scheduled => 0,
        StateName::Queued => 1,
        StateName::Running => 2,
        StateName::Completed => 3,
        StateName::Failed => 4,
        StateName::Cancelled => 5,
    }
}

/// What a state's own data is as columns.
#[derive(Default)]
pub(crate) struct StateColumns<'a> {
    pub(crate) run_at: Option<i64>,
    pub(crate) worker: Option<&'a str>,
    pub(crate) lease_expires_at: Option<i64>,
    pub(crate) cancel_requested: bool,
    pub(crate) finished_at: Option<i64>,
    pub(crate) result: Option<&'a RawJson>,
}

impl<'a> StateColumns<'a> {
    pub(crate) fn of(state: &'a JobState) -> Self {
        match state {
            JobState::Scheduled { run_at } | JobState::Queued { run_at } => {
                Self { run_at: Some(run_at.as_micros()), ..Self::default() }
            }
            JobState::Running { lease, cancel_requested } => Self {
                worker: Some(lease.worker.as_str()),
                lease_expires_at: Some(lease.expires_at.as_micros()),
                cancel_requested: *cancel_requested,
                ..Self::default()
            },
            JobState::Completed { finished_at, result } => Self {
                finished_at: Some(finished_at.as_micros()),
                result: result.as_ref(),
                ..Self::default()
            },
            JobState::Failed { finished_at } | JobState::Cancelled { finished_at } => {
                Self { finished_at: Some(finished_at.as_micros()), ..Self::default() }
            }
        }
    }
}
