//! Telling of what was committed, in commit order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{runtime::Handle, sync::mpsc};

use super::{
    Running,
    batching::{Committer, Settlement},
};

/// Up to so many callers are answered on the lane's own thread, where each answer may have to wake a
/// worker of the runtime. More are answered by a task of the runtime: it costs the lane one such wake,
/// and the callers one hop.
const AT_ONCE_MAX: usize = 4;

/// Settlements that may wait for the task; beyond them the lane waits.
const WAITING_MAX: usize = 2;

/// How a lane has its callers answered, while it commits what came next.
pub(super) struct Settler {
    committer: Arc<Committer>,
    task: mpsc::Sender<Settlement>,
    /// What the task was given and has not settled: nothing may overtake it.
    given: Arc<AtomicUsize>,
}

impl Settler {
    /// `running` goes when all is settled.
    pub(super) fn start(committer: Arc<Committer>, running: Running, runtime: &Handle) -> Self {
        let (task, inbox) = mpsc::channel(WAITING_MAX);
        let given = Arc::new(AtomicUsize::new(0));
        runtime.spawn(run(inbox, Arc::clone(&committer), Arc::clone(&given), running));
        Self { committer, task, given }
    }

    /// To be called on the lane's thread.
    pub(super) fn settle(&self, settlement: Settlement) {
        if settlement.commands <= AT_ONCE_MAX && self.given.load(Ordering::Acquire) == 0 {
            self.committer.settle(settlement);
            return;
        }
        self.given.fetch_add(1, Ordering::Relaxed);
        // Without the task the runtime is going down, and this is the last that anybody hears.
        if let Err(mpsc::error::SendError(settlement)) = self.task.blocking_send(settlement) {
            self.committer.settle(settlement);
        }
    }
}

async fn run(
    mut inbox: mpsc::Receiver<Settlement>,
    committer: Arc<Committer>,
    given: Arc<AtomicUsize>,
    _running: Running,
) {
    while let Some(settlement) = inbox.recv().await {
        committer.settle(settlement);
        given.fetch_sub(1, Ordering::Release);
    }
}
