use std::time::Duration;

use tidings_core::Category;
use tokio::time::sleep;

use super::{
    Ending, Outcome, Shared,
    job::{Stop, StopReason},
    progress::Progress,
};
use crate::{Backoff, ClientError, FailRequest, LeasedJob, error::chain};

/// Reports how the work ended, again and again until the server answers or the lease is lost.
pub(super) async fn send(
    shared: &Shared,
    job: &LeasedJob,
    progress: &Progress,
    stop: &Stop,
    outcome: Outcome,
) -> Ending {
    if stop.reason() == Some(StopReason::LeaseLost) {
        return Ending::Lost;
    }
    if !matches!(outcome, Outcome::Release) {
        progress.flush(&shared.client, &job.lease).await;
    }
    match repeat(shared, job, stop, &outcome).await {
        Ok(()) => ending(outcome),
        Err(error) if is_lost(&error) => Ending::Lost,
        // The result itself is not taken (too large, too deep): that is the job's failure.
        Err(error) if error.status().is_some() && matches!(outcome, Outcome::Complete(_)) => {
            let failure = FailRequest {
                error: format!("the result was not taken: {error}"),
                category: Some(Category::Validation),
                retry: false,
                retry_in: None,
            };
            let outcome = Outcome::Fail(failure);
            match repeat(shared, job, stop, &outcome).await {
                Ok(()) => ending(outcome),
                Err(error) => Ending::Unreported { why: chain(&error) },
            }
        }
        Err(error) => Ending::Unreported { why: chain(&error) },
    }
}

fn ending(outcome: Outcome) -> Ending {
    match outcome {
        Outcome::Complete(_) => Ending::Completed,
        Outcome::Fail(failure) => Ending::Failed { error: failure.error, retry: failure.retry },
        Outcome::Release => Ending::Released,
    }
}

fn is_lost(error: &ClientError) -> bool {
    matches!(error.status(), Some(404 | 409))
}

async fn repeat(shared: &Shared, job: &LeasedJob, stop: &Stop, outcome: &Outcome) -> Result<(), ClientError> {
    let backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(5), tries: Some(60) };
    let mut failures = 0;
    loop {
        let (client, lease) = (&shared.client, &job.lease);
        let answer = match outcome {
            Outcome::Complete(result) => client.complete(lease, result.as_ref()).await,
            Outcome::Fail(failure) => client.fail(lease, failure).await,
            Outcome::Release => client.release(lease).await,
        };
        let error = match answer {
            Ok(()) => return Ok(()),
            Err(error) if !error.is_temporary() => return Err(error),
            Err(error) => error,
        };
        failures += 1;
        let lost = stop.reason() == Some(StopReason::LeaseLost);
        match backoff.delay(failures, error.retry_after(), client.entropy()) {
            Some(delay) if !lost => sleep(delay).await,
            _ => return Err(error),
        }
    }
}
