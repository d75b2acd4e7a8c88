//! Keeps a lease alive.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    job::{Stop, StopReason},
};
use crate::LeasedJob;

/// Extends the lease at a third of its length until `over`, and tells the handler to stop where the
/// lease is lost or the job is cancelled.
pub(super) async fn keep(shared: &Shared, job: &LeasedJob, stop: &Stop, over: &CancellationToken) {
    let mut length = job.length;
    let mut expires = Instant::now() + length;
    let mut next = Instant::now() + third(length);
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            () = sleep_until(next) => {}
        }
        let asked = Instant::now();
        // An answer that takes longer than a third is not worth waiting for: the next one is due.
        let beat =
            timeout(third(length).max(Duration::from_millis(500)), shared.client.heartbeat(&job.lease)).await;
        match beat {
            Ok(Ok(pulse)) => {
                length = pulse.length.max(Duration::from_millis(300));
                expires = asked + length;
                next = asked + third(length);
                shared.set_draining(pulse.drain);
                if pulse.cancel {
                    stop.set(StopReason::Cancelled);
                }
            }
            Ok(Err(error)) if error.status().is_some() && !error.is_temporary() => {
                tracing::debug!(%error, "the lease is lost");
                stop.set(StopReason::LeaseLost);
                return;
            }
            // The server is there and cannot reach its store: it extends leases by the outage.
            Ok(Err(error)) if error.status() == Some(503) => {
                expires = expires.max(Instant::now() + third(length));
                next = Instant::now() + soon(length);
            }
            Ok(Err(_)) | Err(_) => {
                next = Instant::now() + soon(length);
            }
        }
        if Instant::now() >= expires {
            stop.set(StopReason::LeaseLost);
            return;
        }
        next = next.min(expires);
    }
}

fn third(length: Duration) -> Duration {
    (length / 3).max(Duration::from_millis(100))
}

/// Until the next try after one that failed.
fn soon(length: Duration) -> Duration {
    (length / 10).clamp(Duration::from_millis(100), Duration::from_secs(2))
}
