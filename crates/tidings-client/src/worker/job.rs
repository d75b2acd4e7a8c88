use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Ending, Outcome, Shared, progress::Progress, pulse, report};
use crate::LeasedJob;

/// Why a handler is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody cancelled the job.
    Cancelled,
    /// Another worker may have the job: what this one does is in vain.
    LeaseLost,
    /// The worker stops; the job will be given back.
    Shutdown,
}

/// What a handler has of its surroundings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JobContext {
    progress: Progress,
    stop: watch::Receiver<Option<StopReason>>,
}

impl JobContext {
    /// Says how far the job is; `percent` above 100 counts as 100. Never waits: the newest wins.
    pub fn progress(&self, percent: u8, message: Option<String>) {
        self.progress.set(percent.min(100), message);
    }

    /// Resolves when the handler should stop.
    pub async fn stopped(&self) -> StopReason {
        let mut stop = self.stop.clone();
        let reason = stop.wait_for(Option::is_some).await.ok().and_then(|reason| *reason);
        match reason {
            Some(reason) => reason,
            // The run is over: nobody is left to stop anything.
            None => std::future::pending().await,
        }
    }
}

/// Tells the handler to stop. The first reason counts, but a lost lease beats any.
#[derive(Debug, Clone)]
pub(super) struct Stop(Arc<watch::Sender<Option<StopReason>>>);

impl Stop {
    pub(super) fn set(&self, reason: StopReason) -> bool {
        self.0.send_if_modified(|current| {
            let change = current.is_none() || (reason == StopReason::LeaseLost && *current != Some(reason));
            if change {
                *current = Some(reason);
            }
            change
        })
    }

    pub(super) fn reason(&self) -> Option<StopReason> {
        *self.0.borrow()
    }
}

/// Runs one leased job to its reported end.
pub(super) async fn run(shared: Arc<Shared>, job: LeasedJob, shutdown: CancellationToken) -> Ending {
    let job = Arc::new(job);
    shared.observer.leased(&job);
    let (sender, receiver) = watch::channel(None);
    let stop = Stop(Arc::new(sender));
    let progress = Progress::default();
    let context = JobContext { progress: progress.clone(), stop: receiver };
    let over = CancellationToken::new();
    let work = async {
        let outcome = handle(&shared, &job, &context, &stop, &shutdown).await;
        let ending = report::send(&shared, &job, &progress, &stop, outcome).await;
        over.cancel();
        ending
    };
    let ((), (), ending) = tokio::join!(
        pulse::keep(&shared, &job, &stop, &over),
        progress.forward(&shared.client, &job.lease, &over),
        work,
    );
    shared.observer.ended(&job, &ending);
    ending
}

/// The handler's outcome; one that does not stop within the grace is dropped.
async fn handle(
    shared: &Shared,
    job: &Arc<LeasedJob>,
    context: &JobContext,
    stop: &Stop,
    shutdown: &CancellationToken,
) -> Outcome {
    // A task of its own: a handler that panics fails its job and nothing else.
    let handler = shared.handler.run(job.clone(), context.clone());
    let mut running = tokio::spawn(handler);
    let told = tokio::select! {
        ended = &mut running => return outcome(ended),
        () = shutdown.cancelled() => {
            stop.set(StopReason::Shutdown);
            StopReason::Shutdown
        }
        reason = context.stopped() => reason,
    };
    shared.observer.stopping(job, told);
    if let Ok(ended) = tokio::time::timeout(shared.config.grace, &mut running).await {
        return outcome(ended);
    }
    running.abort();
    // Awaited, so that what it held is gone before the job is reported.
    let _ = running.await;
    Outcome::stopped(told)
}

fn outcome(ended: Result<Outcome, tokio::task::JoinError>) -> Outcome {
    ended.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|t| (*t).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Outcome::retry(format!("the handler panicked: {text}"))
        }
        Err(_) => Outcome::Release,
    })
}
