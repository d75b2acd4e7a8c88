//! Group commit: while one batch is on its way to the disk, the next one gathers.

mod batching;
mod keys;
mod lane;
mod queue;
mod settler;
#[cfg(test)]
mod tests;
mod totals;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_core::{Epoch, Event, TenantId};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

use crate::{Command, CommandError, Maintain, Outcome, Store};
use batching::Committer;
use lane::Lane;
use queue::{Pending, Queue};
use settler::Settler;
use totals::Totals;

/// Where committed events go: the feeds.
pub trait CommitSink: Send + Sync + 'static {
    /// The events of one commit and the histories that they went into, after it is on stable storage and
    /// before its callers are answered.
    ///
    /// For each lane calls come one at a time and in its commit order; those of several lanes come at
    /// once. So a tenant's events come in order, but for those that a claim or a rescue of several
    /// tenants made: these come from the first lane, and the tenant's own may be ahead of it or behind.
    ///
    /// It must not block: its lane's callers wait for it.
    fn committed(&self, events: &[Arc<Event>], epochs: &[(TenantId, Epoch)]);

    /// What one commit held and took, failed ones included.
    fn batch_observed(&self, _batch: BatchObserved) {}
}

#[derive(Debug, Clone, Copy)]
pub struct BatchObserved {
    pub commands: usize,
    pub events: usize,
    /// From handing the batch to the store until its answer.
    pub duration: Duration,
}

/// The bounds of what waits are those of all lanes together, the bounds of a batch those of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// Commands that may wait; beyond it [`CommandError::Busy`].
    pub queue_max: usize,
    /// Bytes that waiting commands may hold, about.
    pub queue_bytes_max: usize,
    /// Commands of one tenant that may wait.
    pub tenant_queue_max: usize,
    /// Commands of one batch.
    pub batch_max: usize,
    /// Bytes of one batch, about; a single command may be larger.
    pub batch_bytes_max: usize,
    /// While others wait, a tenant has at most one of so many shares of a batch's commands and bytes, and one command in any case.
    pub batch_shares: usize,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            queue_max: 8_192,
            queue_bytes_max: 256 << 20,
            tenant_queue_max: 2_048,
            batch_max: 512,
            batch_bytes_max: 4 << 20,
            batch_shares: 8,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalStats {
    /// Commands that wait now.
    pub queued: usize,
    /// Bytes that they hold, about.
    pub queued_bytes: usize,
    /// Commits since the start, failed ones included.
    pub batches: u64,
    /// Commands that those commits held.
    pub commands: u64,
}

/// The only way to change anything. A clone is the same journal; it stops when the last one goes, after
/// what waits has been committed.
///
/// It has as many lanes as its store, each with a queue and a thread. A tenant's commands go through one
/// lane; what concerns several tenants or none goes through the first, but for retention where it has a lane of its own. Should a lane die, the others
/// commit what waits for them and the journal refuses everything else.
#[derive(Clone)]
pub struct Journal(Arc<Owner>);

struct Owner(Arc<Shared>);

struct Shared {
    /// One for each lane.
    queues: Vec<Queue>,
    /// The lanes that tenants share.
    lanes: usize,
    totals: Arc<Totals>,
    /// Lanes that have not ended, or not answered all.
    running: watch::Sender<usize>,
}

/// A lane that has not ended, or not answered all.
struct Running(Arc<Shared>);

impl Journal {
    /// Starts a thread for each of the store's lanes. Whatever the store awaits there is driven by the
    /// current tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime, or where the system has no thread to give.
    pub fn start(store: Arc<dyn Store>, sink: Arc<dyn CommitSink>, config: JournalConfig) -> Self {
        let (lanes, totals) = (store.lanes().max(1), Arc::new(Totals::new(config)));
        let all = lanes + usize::from(store.retains_apart());
        let queues = (0..all).map(|_| Queue::new(Arc::clone(&totals))).collect();
        let shared = Arc::new(Shared { queues, lanes, totals, running: watch::Sender::new(all) });
        let (committer, runtime) = (Arc::new(Committer::new(store, sink)), Handle::current());
        for number in 0..all {
            let settler = Settler::start(Arc::clone(&committer), Running(Arc::clone(&shared)), &runtime);
            Lane::new(number, Arc::clone(&shared), Arc::clone(&committer), settler).start(runtime.clone());
        }
        Self(Arc::new(Owner(shared)))
    }

    /// Queues a command and waits for its outcome. A full queue answers [`CommandError::Busy`] at once.
    /// Dropping the future does not take a queued command back: it is done, and nobody hears of it.
    pub async fn submit(&self, command: Command) -> Result<Outcome, CommandError> {
        let shared = &self.0.0;
        let (reply, outcome) = oneshot::channel();
        let lane = match &command {
            Command::Maintain(Maintain::Retain { .. }) if shared.queues.len() > shared.lanes => shared.lanes,
            command => lane::of(command, shared.lanes),
        };
        shared.queues[lane].push(Pending::new(command, reply))?;
        // Unanswered means that the lane died with the command in its hands.
        outcome.await.unwrap_or(Err(CommandError::OutcomeUnknown))
    }

    pub fn stats(&self) -> JournalStats {
        self.0.0.totals.stats()
    }

    /// Refuses new commands, commits those that wait, and returns when all are answered.
    pub async fn close(&self) {
        let shared = &self.0.0;
        shared.close();
        let mut running = shared.running.subscribe();
        running.wait_for(|lanes| *lanes == 0).await.expect("the sender is borrowed from this journal");
    }
}

impl Shared {
    fn close(&self) {
        self.queues.iter().for_each(Queue::close);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|lanes| *lanes -= 1);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A clock for how long a commit took.
fn stopwatch() -> impl Fn() -> Duration {
    let started = Instant::now();
    move || started.elapsed()
}
