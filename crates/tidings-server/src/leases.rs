//! Leasing jobs: where long polls wait, where progress is coalesced, and how a lease that reached
//! nobody goes back.
//!
//! - [`Desk`] is where workers wait: it sees every committed event and wakes one waiting worker for each
//!   job that becomes available, the one that has waited longest.
//! - [`Handover`] is a response body that gives its leases back when it is dropped undelivered.
//! - [`ProgressDesk`] writes a job's first report at once and merges those that follow too quickly.
//! - [`LeaseToken`] is how a worker names its lease.

mod claim;
mod desk;
mod handover;
mod interest;
mod polls;
mod progress;
mod token;

pub(crate) use claim::{Claimer, Undelivered, Wanted};
pub(crate) use desk::Desk;
pub(crate) use handover::Handover;
pub(crate) use progress::{ProgressDesk, Reported};
pub(crate) use token::LeaseToken;
