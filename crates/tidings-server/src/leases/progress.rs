use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::{Rate, job::Progress};
use tidings_store::{Command, CommandError, Journal, Operation};
use tokio_util::task::TaskTracker;

use super::LeaseToken;

/// Merges reports of progress that come too quickly: the first is written at once, what follows waits
/// for its turn and the newest wins. At most [`ProgressDesk::MAX`] leases are merged at a time; beyond
/// that every report is written.
#[derive(Clone)]
pub(crate) struct ProgressDesk(Arc<Shared>);

struct Shared {
    journal: Journal,
    interval: Duration,
    /// What waits for each lease that reported within the interval.
    recent: Mutex<HashMap<LeaseToken, Option<Progress>, foldhash::fast::RandomState>>,
    tasks: TaskTracker,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    Written,
    /// It waits, and is written soon unless a newer one replaces it.
    Coalesced,
}

impl ProgressDesk {
    pub(crate) const MAX: usize = 50_000;

    pub(crate) fn new(journal: Journal, rate: Rate) -> Self {
        let interval = rate.per / rate.count;
        let recent = Mutex::new(HashMap::default());
        Self(Arc::new(Shared { journal, interval, recent, tasks: TaskTracker::new() }))
    }

    pub(crate) async fn report(
        &self,
        lease: &LeaseToken,
        progress: Progress,
    ) -> Result<Reported, CommandError> {
        {
            let mut recent = self.0.recent.lock();
            if let Some(waiting) = recent.get_mut(lease) {
                *waiting = Some(progress);
                return Ok(Reported::Coalesced);
            }
            if recent.len() < Self::MAX {
                recent.insert(lease.clone(), None);
                self.0.tasks.spawn(self.clone().write_later(lease.clone()));
            }
        }
        let written = self.write(lease, progress).await;
        if written.is_err() {
            self.0.recent.lock().remove(lease);
        }
        written.map(|()| Reported::Written)
    }

    /// Takes what waits for a lease that ends: it goes with its last report, or is dropped.
    pub(crate) fn take(&self, lease: &LeaseToken) -> Option<Progress> {
        self.0.recent.lock().remove(lease).flatten()
    }

    /// Writes everything that waits: the server is stopping.
    pub(crate) async fn flush(&self) {
        let waiting = std::mem::take(&mut *self.0.recent.lock());
        let writes =
            waiting.iter().filter_map(|(lease, progress)| Some(self.write(lease, progress.clone()?)));
        futures_util::future::join_all(writes).await;
    }

    /// Writes what has gathered each time the interval is over, until nothing has.
    async fn write_later(self, lease: LeaseToken) {
        loop {
            tokio::time::sleep(self.0.interval).await;
            let progress = {
                let mut recent = self.0.recent.lock();
                let Some(Some(progress)) = recent.get_mut(&lease).map(Option::take) else {
                    recent.remove(&lease);
                    return;
                };
                progress
            };
            if let Err(error) = self.write(&lease, progress).await {
                tracing::debug!(%error, job = %lease.job, "progress that waited was not written");
                self.0.recent.lock().remove(&lease);
                return;
            }
        }
    }

    async fn write(&self, lease: &LeaseToken, progress: Progress) -> Result<(), CommandError> {
        let operation = Operation::Progress { job: lease.job, lease_no: lease.lease_no, progress };
        let command = Command::Tenant { tenant: lease.tenant.clone(), create: false, operation };
        self.0.journal.submit(command).await.map(drop)
    }
}

impl std::fmt::Debug for ProgressDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgressDesk").field("recent", &self.0.recent.lock().len()).finish_non_exhaustive()
    }
}
