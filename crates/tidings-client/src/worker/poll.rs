use std::{pin::Pin, time::Duration};

use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::{ClientError, LeaseRequest, LeasedJob};

/// How long a worker that stops waits for the answer to its last poll.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// Between two words to the server that it is to answer: the poll may come after the first.
const AGAIN: Duration = Duration::from_millis(250);

/// Asks for jobs. `None` on shutdown, after what came all the same was given back.
pub(super) async fn ask(
    shared: &Shared,
    request: &LeaseRequest,
    shutdown: &CancellationToken,
) -> Option<Result<Vec<LeasedJob>, ClientError>> {
    let mut poll = std::pin::pin!(shared.client.lease(request));
    tokio::select! {
        biased;
        answer = &mut poll => return Some(answer),
        () = shutdown.cancelled() => {}
    }
    // Just to go away would lose the leases of an answer that is on its way.
    let last = tokio::time::timeout(LAST_ANSWER, end(shared, poll)).await;
    for job in last.ok().flatten().unwrap_or_default() {
        if let Err(error) = shared.client.release(&job.lease).await {
            tracing::debug!(%error, "a lease that came too late could not be given back: it will expire");
        }
    }
    None
}

/// Has the server answer the poll, and waits for that. `None`: it cannot be told to.
async fn end(
    shared: &Shared,
    mut poll: Pin<&mut impl Future<Output = Result<Vec<LeasedJob>, ClientError>>>,
) -> Option<Vec<LeasedJob>> {
    loop {
        let told = shared.client.end_polls(&shared.config.name);
        tokio::select! {
            biased;
            answer = &mut poll => return answer.ok(),
            told = told => told.ok()?,
        };
        tokio::select! {
            biased;
            answer = &mut poll => return answer.ok(),
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}
