//! The worker runtime: leases jobs, runs them, keeps their leases alive, reports how they ended.
//!
//! - [`Worker::run`] claims as many jobs as it has free hands, by long polls, until its shutdown token
//!   is cancelled. Then nothing more is claimed (the server is told to answer the poll that waits, and
//!   what comes with it goes back), running handlers are told to stop, and what they have not finished is
//!   released: no attempt is spent.
//! - Each lease is extended at a third of its length. Where it is lost (409, or no answer until it has
//!   run out) the handler is told to stop and nothing more is reported.
//! - Progress is coalesced: the newest wins, at most ten a second, and what is pending goes out before
//!   the report that ends the job.
//! - Reports are repeated until they are answered; the server gives a repeat the first outcome.

mod job;
mod poll;
mod progress;
mod pulse;
mod report;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tidings_core::{Category, JobType, RawJson, WorkerName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Backoff, Client, ClientError, FailRequest, LeaseRequest, LeasedJob};

pub use job::{JobContext, StopReason};

/// What a worker does, and how much of it at once.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    pub name: WorkerName,
    /// At least one.
    pub types: Vec<JobType>,
    /// Jobs that run at once; at least one.
    pub concurrency: usize,
    /// How long one poll for jobs waits at the server.
    pub wait: Duration,
    /// How long a handler that was told to stop has before it is dropped.
    pub grace: Duration,
    /// Between polls that failed.
    pub backoff: Backoff,
}

impl WorkerConfig {
    pub fn new(name: WorkerName, types: Vec<JobType>) -> Self {
        Self {
            name,
            types,
            concurrency: 1,
            wait: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            backoff: Backoff::default().forever(),
        }
    }
}

/// How a handler's work ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    Complete(Option<RawJson>),
    Fail(FailRequest),
    /// Not done, and nobody's fault: another worker may have it, no attempt is spent.
    Release,
}

impl Outcome {
    /// A failure that another attempt may mend.
    pub fn retry(error: impl Into<String>) -> Self {
        Self::Fail(FailRequest { error: error.into(), category: None, retry: true, retry_in: None })
    }

    /// A failure for good.
    pub fn fail(error: impl Into<String>) -> Self {
        Self::Fail(FailRequest { error: error.into(), category: None, retry: false, retry_in: None })
    }

    /// The answer of a handler that stopped because it was told to.
    pub fn stopped(reason: StopReason) -> Self {
        match reason {
            StopReason::Cancelled => Self::Fail(FailRequest {
                error: "cancelled".into(),
                category: Some(Category::Cancelled),
                retry: false,
                retry_in: None,
            }),
            StopReason::LeaseLost | StopReason::Shutdown => Self::Release,
        }
    }
}

/// Does the work of one job.
pub trait Handler: Send + Sync + 'static {
    /// Should end soon once [`JobContext::stopped`] resolves; it is dropped after the grace.
    fn run(&self, job: Arc<LeasedJob>, context: JobContext) -> BoxFuture<'static, Outcome>;
}

impl<F> Handler for F
where
    F: Fn(Arc<LeasedJob>, JobContext) -> BoxFuture<'static, Outcome> + Send + Sync + 'static,
{
    fn run(&self, job: Arc<LeasedJob>, context: JobContext) -> BoxFuture<'static, Outcome> {
        self(job, context)
    }
}

/// How a job ended as the server saw it.
#[derive(Debug, Clone)]
pub enum Ending {
    Completed,
    /// `retry`: another attempt may follow.
    Failed {
        error: String,
        retry: bool,
    },
    Released,
    /// Another worker may have it: nothing of this run counts.
    Lost,
    /// The report was refused or never answered.
    Unreported {
        why: String,
    },
}

/// Told of what a worker does, for people who watch it. Calls come from many tasks and must not block.
pub trait Observer: Send + Sync + 'static {
    fn leased(&self, _job: &LeasedJob) {}
    fn stopping(&self, _job: &LeasedJob, _reason: StopReason) {}
    fn ended(&self, _job: &LeasedJob, _ending: &Ending) {}
    /// The server cannot be asked for jobs; the next try comes after `delay`.
    fn waiting(&self, _error: &ClientError, _delay: Duration) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// Why a worker stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The server does not let this credential work, or does not take the request.
    #[error("the server gives this worker no jobs")]
    Refused(#[source] ClientError),
    #[error("gave up asking for jobs")]
    GaveUp(#[source] ClientError),
}

pub struct Worker {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    client: Client,
    config: WorkerConfig,
    handler: Arc<dyn Handler>,
    observer: Arc<dyn Observer>,
    /// The last heartbeat's word on whether the server is stopping.
    draining: std::sync::atomic::AtomicBool,
}

impl Worker {
    pub fn new(client: Client, config: WorkerConfig, handler: impl Handler, observer: impl Observer) -> Self {
        let draining = std::sync::atomic::AtomicBool::new(false);
        let shared =
            Shared { client, config, handler: Arc::new(handler), observer: Arc::new(observer), draining };
        Self { shared: Arc::new(shared) }
    }

    /// Works until `shutdown` is cancelled, then stops what runs and gives it back. An error ends it
    /// too, after the jobs that run have ended.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let hands = Arc::new(Semaphore::new(self.shared.config.concurrency.max(1)));
        let tasks = TaskTracker::new();
        let claimed = self.claim(&hands, &tasks, &shutdown).await;
        tasks.close();
        tasks.wait().await;
        claimed
    }

    /// Runs a job that was leased elsewhere, alone. `shutdown` stops it and gives it back.
    pub async fn run_one(self, job: LeasedJob, shutdown: CancellationToken) -> Ending {
        job::run(self.shared, job, shutdown).await
    }

    async fn claim(
        &self,
        hands: &Arc<Semaphore>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<(), WorkerError> {
        let mut failures = 0;
        loop {
            let Some(mut free) = self.free_hands(hands, shutdown).await else { return Ok(()) };
            let asked = self.lease_request(free.len());
            let Some(answer) = poll::ask(&self.shared, &asked, shutdown).await else { return Ok(()) };
            match answer {
                Ok(jobs) => {
                    failures = 0;
                    for job in jobs {
                        let permit = free.pop();
                        let run = job::run(self.shared.clone(), job, shutdown.clone());
                        tasks.spawn(async move {
                            run.await;
                            drop(permit);
                        });
                    }
                }
                Err(error) if !error.is_temporary() => {
                    return Err(WorkerError::Refused(error));
                }
                Err(error) => {
                    drop(free);
                    failures += 1;
                    self.back_off(failures, error, shutdown).await?;
                }
            }
        }
    }

    /// One free hand at least, and all others that are free; `None` on shutdown. While the server
    /// drains, nothing is claimed as long as jobs run whose heartbeats will tell when that is over.
    async fn free_hands(
        &self,
        hands: &Arc<Semaphore>,
        shutdown: &CancellationToken,
    ) -> Option<Vec<OwnedSemaphorePermit>> {
        loop {
            let first = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                permit = hands.clone().acquire_owned() => permit.expect("never closed"),
            };
            let idle = hands.available_permits() + 1 == self.shared.config.concurrency.max(1);
            if idle || !self.shared.is_draining() {
                self.shared.set_draining(false);
                let mut free = vec![first];
                while let Ok(permit) = hands.clone().try_acquire_owned() {
                    free.push(permit);
                }
                return Some(free);
            }
            drop(first);
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    fn lease_request(&self, max: usize) -> LeaseRequest {
        let config = &self.shared.config;
        LeaseRequest {
            worker: config.name.clone(),
            types: config.types.clone(),
            max: max.min(100),
            wait_s: config.wait.as_secs().min(60),
        }
    }

    async fn back_off(
        &self,
        failures: u32,
        error: ClientError,
        shutdown: &CancellationToken,
    ) -> Result<(), WorkerError> {
        let entropy = self.shared.client.entropy();
        let Some(delay) = self.shared.config.backoff.delay(failures, error.retry_after(), entropy) else {
            return Err(WorkerError::GaveUp(error));
        };
        self.shared.observer.waiting(&error, delay);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(delay) => {}
        }
        Ok(())
    }
}

impl Shared {
    fn is_draining(&self) -> bool {
        self.draining.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn set_draining(&self, draining: bool) {
        self.draining.store(draining, std::sync::atomic::Ordering::Relaxed);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("config", &self.shared.config).finish_non_exhaustive()
    }
}
