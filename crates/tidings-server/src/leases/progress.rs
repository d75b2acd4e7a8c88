use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use tidings_core::{Rate, job::Progress};
use tidings_store::{Command, CommandError, Journal, Operation};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::LeaseToken;

/// Merges reports of progress that come too quickly: the first is written at once, what follows waits
/// for its turn and the newest wins. At most [`ProgressDesk::MAX`] leases are merged at a time; beyond
/// that every report is written.
///
/// What waits is not lost to an outage: where the store did not take it, it waits again unless a newer
/// report has come, until it is written or its lease is found lost. [`ProgressDesk::flush`] is the end.
#[derive(Clone)]
pub(crate) struct ProgressDesk(Arc<Shared>);

struct Shared {
    submit: Submit,
    interval: Duration,
    state: Mutex<State>,
    /// Writes of what waited that are under way at one time, so that they never fill a tenant's queue.
    writes: Semaphore,
    tasks: TaskTracker,
    /// Nobody waits for a turn any more.
    stopping: CancellationToken,
    /// Nor for the store.
    over: CancellationToken,
}

type Submit = Box<dyn Fn(Command) -> BoxFuture<'static, Result<(), CommandError>> + Send + Sync>;

#[derive(Default)]
struct State {
    /// Leases that reported within the interval. Each has a task, which takes it out again, unless the
    /// lease ends before or the store says that it is lost.
    recent: HashMap<LeaseToken, Entry, foldhash::fast::RandomState>,
    closed: bool,
}

#[derive(Default)]
struct Entry {
    waiting: Option<Progress>,
    /// How many reports have come to wait.
    count: u64,
    /// Lent to reports that end the lease and are not answered yet.
    lent: u32,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    Written,
    /// It waits, and is written soon unless a newer one replaces it.
    Coalesced,
}

/// What waited for a lease that is about to end. Dropped before it is [`settled`](Lent::settled), it
/// waits again.
pub(crate) struct Lent {
    desk: ProgressDesk,
    lease: LeaseToken,
    progress: Option<Progress>,
    count: u64,
}

impl ProgressDesk {
    pub(crate) const MAX: usize = 50_000;

    const WRITES_MAX: usize = 256;

    /// Before a write that failed is tried again.
    const RETRY: Duration = Duration::from_millis(200);

    /// How long a stopping server tries to write what waits.
    const FLUSH_MAX: Duration = Duration::from_secs(10);

    pub(crate) fn new(journal: Journal, rate: Rate) -> Self {
        let submit = move |command| {
            let journal = journal.clone();
            async move { journal.submit(command).await.map(drop) }.boxed()
        };
        Self::with(Box::new(submit), rate)
    }

    fn with(submit: Submit, rate: Rate) -> Self {
        Self(Arc::new(Shared {
            submit,
            interval: rate.per / rate.count,
            state: Mutex::default(),
            writes: Semaphore::new(Self::WRITES_MAX),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            over: CancellationToken::new(),
        }))
    }

    pub(crate) async fn report(
        &self,
        lease: &LeaseToken,
        progress: Progress,
    ) -> Result<Reported, CommandError> {
        {
            let mut state = self.0.state.lock();
            if state.closed {
                return Err(CommandError::Unavailable);
            }
            if let Some(entry) = state.recent.get_mut(lease) {
                entry.waiting = Some(progress);
                entry.count += 1;
                return Ok(Reported::Coalesced);
            }
            if state.recent.len() < Self::MAX {
                state.recent.insert(lease.clone(), Entry::default());
                self.0.tasks.spawn(self.clone().write_later(lease.clone()));
            }
        }
        let written = self.write(lease, progress).await;
        if written.as_ref().is_err_and(|error| !may_pass(error)) {
            self.0.state.lock().recent.remove(lease);
        }
        written.map(|()| Reported::Written)
    }

    /// Takes what waits for a lease that ends: it goes with its last report.
    pub(crate) fn lend(&self, lease: &LeaseToken) -> Lent {
        let mut state = self.0.state.lock();
        let (mut progress, mut count) = (None, 0);
        if let Some(entry) = state.recent.get_mut(lease) {
            (progress, count) = (entry.waiting.take(), entry.count);
            entry.lent += u32::from(progress.is_some());
        }
        drop(state);
        Lent { desk: self.clone(), lease: lease.clone(), progress, count }
    }

    /// Writes everything that waits and takes nothing more: the server is stopping. What the store does
    /// not take in time is told of in the log.
    pub(crate) async fn flush(&self) {
        self.0.state.lock().closed = true;
        self.0.stopping.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(Self::FLUSH_MAX, self.0.tasks.wait()).await.is_err() {
            self.0.over.cancel();
            self.0.tasks.wait().await;
        }
        let jobs = self.0.state.lock().recent.len();
        if jobs > 0 {
            tracing::warn!(jobs, "the last progress of some jobs was not written: the store did not take it");
        }
    }

    async fn write_later(self, lease: LeaseToken) {
        tokio::select! {
            () = self.keep_writing(&lease) => {}
            () = self.0.over.cancelled() => {}
        }
    }

    /// Writes what has gathered each time the interval is over, until nothing has.
    async fn keep_writing(&self, lease: &LeaseToken) {
        self.turn().await;
        while let Some((progress, count)) = self.next(lease) {
            let Some(progress) = progress else {
                // A last report has it; until that is answered there is nothing to do.
                tokio::time::sleep(Self::RETRY).await;
                continue;
            };
            match self.write_in_turn(lease, progress.clone()).await {
                Ok(()) => self.turn().await,
                Err(error) if may_pass(&error) => {
                    self.put_back(lease, progress, count);
                    tokio::time::sleep(Self::RETRY).await;
                }
                Err(error) => {
                    tracing::debug!(%error, job = %lease.job, "progress that waited was not written");
                    self.0.state.lock().recent.remove(lease);
                }
            }
        }
    }

    /// Until the interval is over, or nobody waits any more.
    async fn turn(&self) {
        tokio::select! {
            () = tokio::time::sleep(self.0.interval) => {}
            () = self.0.stopping.cancelled() => {}
        }
    }

    /// Takes what waits. `None`: nothing does, and the lease is taken out.
    fn next(&self, lease: &LeaseToken) -> Option<(Option<Progress>, u64)> {
        let mut state = self.0.state.lock();
        let entry = state.recent.get_mut(lease)?;
        if entry.waiting.is_none() && entry.lent == 0 {
            state.recent.remove(lease);
            return None;
        }
        Some((entry.waiting.take(), entry.count))
    }

    /// `count`: how many reports had come when this one was taken; where more have, it is out of date.
    fn put_back(&self, lease: &LeaseToken, progress: Progress, count: u64) {
        if let Some(entry) = self.0.state.lock().recent.get_mut(lease)
            && entry.count == count
        {
            entry.waiting = Some(progress);
        }
    }

    async fn write_in_turn(&self, lease: &LeaseToken, progress: Progress) -> Result<(), CommandError> {
        let _turn = self.0.writes.acquire().await.expect("the semaphore is never closed");
        self.write(lease, progress).await
    }

    async fn write(&self, lease: &LeaseToken, progress: Progress) -> Result<(), CommandError> {
        let operation = Operation::Progress { job: lease.job, lease_no: lease.lease_no, progress };
        let command = Command::Tenant { tenant: lease.tenant.clone(), create: false, operation };
        (self.0.submit)(command).await
    }
}

/// Whether the same may be taken later.
const fn may_pass(error: &CommandError) -> bool {
    matches!(error, CommandError::Busy | CommandError::Unavailable | CommandError::OutcomeUnknown)
}

impl Lent {
    pub(crate) fn progress(&self) -> Option<Progress> {
        self.progress.clone()
    }

    /// The report that it went with was taken: the lease is over, and what comes for it is refused.
    pub(crate) fn settled(mut self) {
        self.progress = None;
        self.desk.0.state.lock().recent.remove(&self.lease);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(progress) = self.progress.take() {
            self.desk.put_back(&self.lease, progress, self.count);
            if let Some(entry) = self.desk.0.state.lock().recent.get_mut(&self.lease) {
                entry.lent = entry.lent.saturating_sub(1);
            }
        }
    }
}

impl std::fmt::Debug for ProgressDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let recent = self.0.state.lock().recent.len();
        f.debug_struct("ProgressDesk").field("recent", &recent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
