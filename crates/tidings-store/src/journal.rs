//! Group commit: while one batch is on its way to the disk, the next one gathers.

mod batching;
mod keys;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tidings_core::Event;
use tokio::sync::{Notify, oneshot, watch};

use crate::{Command, CommandError, Outcome, Store};
use batching::Committer;
use queue::{Pending, Queue};

/// Where committed events go: the feeds.
pub trait CommitSink: Send + Sync + 'static {
    /// The events of one commit, after it is on stable storage and before its callers are answered.
    /// Calls come one at a time, in commit order. It must not block: it runs while the store commits
    /// what came next, whose callers wait for both.
    fn committed(&self, events: &[Arc<Event>]);

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
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            queue_max: 8_192,
            queue_bytes_max: 256 << 20,
            tenant_queue_max: 2_048,
            batch_max: 512,
            batch_bytes_max: 4 << 20,
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
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
}

struct Shared {
    queue: Queue,
    /// Work is waiting, or the end has been asked for.
    wake: Notify,
}

impl Journal {
    /// Spawns its task on the current tokio runtime.
    pub fn start(store: Arc<dyn Store>, sink: Arc<dyn CommitSink>, config: JournalConfig) -> Self {
        let shared = Arc::new(Shared { queue: Queue::new(config), wake: Notify::new() });
        let (stop, stopped) = watch::channel(false);
        let task = Task { shared: Arc::clone(&shared), committer: Committer::new(store, sink), stop };
        tokio::spawn(task.run());
        Self(Arc::new(Handle { shared, stopped }))
    }

    /// Queues a command and waits for its outcome. A full queue answers [`CommandError::Busy`] at once.
    /// Dropping the future does not take a queued command back: it is done, and nobody hears of it.
    pub async fn submit(&self, command: Command) -> Result<Outcome, CommandError> {
        let (reply, outcome) = oneshot::channel();
        if self.0.shared.queue.push(Pending::new(command, reply))? {
            self.0.shared.wake.notify_one();
        }
        // Unanswered means that the task died with the command in its hands.
        outcome.await.unwrap_or(Err(CommandError::OutcomeUnknown))
    }

    pub fn stats(&self) -> JournalStats {
        self.0.shared.queue.stats()
    }

    /// Refuses new commands, commits those that wait, and returns when all are answered.
    pub async fn close(&self) {
        self.0.shared.close();
        let mut stopped = self.0.stopped.clone();
        // An error means that the task is gone, which is stopped enough.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

impl Shared {
    fn close(&self) {
        self.queue.close();
        self.wake.notify_one();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// The one task that commits.
struct Task {
    shared: Arc<Shared>,
    committer: Committer,
    stop: watch::Sender<bool>,
}

impl Task {
    async fn run(self) {
        let _guard = Abandon(Arc::downgrade(&self.shared));
        // The last batch, whose callers are answered while the store works on the next.
        let mut unsettled = None;
        loop {
            let batch = self.shared.queue.gather();
            if !batch.is_empty() {
                let commands = batch.len();
                let settlement = self.committer.commit(batch, unsettled.take()).await;
                self.shared.queue.count(settlement.commits, commands);
                unsettled = Some(settlement);
            } else if let Some(settlement) = unsettled.take() {
                self.committer.settle(settlement);
            } else if self.shared.queue.is_closed() {
                break;
            } else {
                self.shared.wake.notified().await;
            }
        }
        let _ = self.stop.send(true);
    }
}

/// Should the task end in any other way, nobody may go on waiting for it.
struct Abandon(Weak<Shared>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.queue.abandon();
        }
    }
}

/// A clock for how long a commit took.
fn stopwatch() -> impl Fn() -> Duration {
    let started = Instant::now();
    move || started.elapsed()
}
