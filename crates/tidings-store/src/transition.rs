//! What an operation makes of the one job that it names: the same in every store.

use tidings_core::{
    Job, JobId,
    job::{LeaseNo, Moment, Progress, Refused, Report, Step},
};

use crate::Operation;

/// The job that is changed; `None` where an operation concerns anything else.
pub(crate) const fn target(operation: &Operation) -> Option<JobId> {
    match operation {
        Operation::Heartbeat { job, .. }
        | Operation::Progress { job, .. }
        | Operation::Complete { job, .. }
        | Operation::Fail { job, .. }
        | Operation::Release { job, .. }
        | Operation::Cancel { job } => Some(*job),
        _ => None,
    }
}

/// The change of an operation that has a [`target`]; others change no job.
pub(crate) fn apply(operation: &Operation, job: Job, at: Moment<'_>) -> Result<Step, Refused> {
    match operation {
        Operation::Heartbeat { lease_no, length, .. } => job.heartbeat(*lease_no, *length, at),
        Operation::Progress { lease_no, progress, .. } => job.progress(*lease_no, progress.clone(), at),
        Operation::Complete { lease_no, result, pending, .. } => {
            let pending = unreported(pending.as_ref(), &job, (*lease_no, Report::Complete));
            after_progress(job, *lease_no, pending, at, |job| job.complete(*lease_no, result.clone(), at))
        }
        Operation::Fail { lease_no, options, pending, .. } => {
            let pending = unreported(pending.as_ref(), &job, (*lease_no, Report::Fail));
            after_progress(job, *lease_no, pending, at, |job| job.fail(*lease_no, options.clone(), at))
        }
        Operation::Release { lease_no, .. } => job.release(*lease_no, at),
        Operation::Cancel { .. } => job.cancel(at),
        _ => Ok(Step { job, events: Vec::new() }),
    }
}

/// A repeated report has no progress of its own: its first one had it.
fn unreported(pending: Option<&Progress>, job: &Job, report: (LeaseNo, Report)) -> Option<Progress> {
    pending.filter(|_| job.reported != Some(report)).cloned()
}

/// Puts progress that was still waiting before the event that ends the attempt.
fn after_progress(
    job: Job,
    lease_no: LeaseNo,
    pending: Option<Progress>,
    at: Moment<'_>,
    end: impl FnOnce(Job) -> Result<Step, Refused>,
) -> Result<Step, Refused> {
    let Some(pending) = pending else { return end(job) };
    let Step { job, mut events } = job.progress(lease_no, pending, at)?;
    let step = end(job)?;
    events.extend(step.events);
    Ok(Step { job: step.job, events })
}
