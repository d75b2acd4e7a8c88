//! A thread that takes batch after batch from its queue and commits them.

use std::{hash::BuildHasher as _, sync::Arc};

use foldhash::fast::FixedState;
use tidings_core::TenantId;
use tokio::runtime::Handle;

use super::{Shared, batching::Committer, queue::Line, settler::Settler};
use crate::Command;

/// The lane that a command goes through: its tenant's, or the first where it concerns several tenants or
/// none. All that concerns one job or one tenant's key names that tenant, and so meets in one lane.
pub(super) fn of(command: &Command, lanes: usize) -> usize {
    command.tenant().map_or(0, |tenant| of_tenant(tenant, lanes))
}

fn of_tenant(tenant: &TenantId, lanes: usize) -> usize {
    if lanes == 1 {
        return 0;
    }
    (FixedState::default().hash_one(tenant) % lanes as u64) as usize
}

pub(super) struct Lane {
    number: usize,
    shared: Arc<Shared>,
    line: Line,
    committer: Arc<Committer>,
    settler: Settler,
}

impl Lane {
    pub(super) fn new(
        number: usize,
        shared: Arc<Shared>,
        committer: Arc<Committer>,
        settler: Settler,
    ) -> Self {
        Self { number, shared, line: Line::default(), committer, settler }
    }

    pub(super) fn start(self, runtime: Handle) {
        std::thread::Builder::new()
            .name(format!("tidings-lane-{}", self.number))
            .spawn(move || self.run(&runtime))
            .expect("the system has a thread to give");
    }

    /// Until its queue is closed and empty.
    fn run(mut self, runtime: &Handle) {
        while let Some(work) = self.shared.queues[self.number].next(&mut self.line) {
            for part in self.committer.parts(work) {
                let settlement = runtime.block_on(self.committer.commit(self.number, part));
                self.shared.totals.count(settlement.commits, settlement.commands);
                self.settler.settle(settlement);
            }
        }
    }
}

/// However it ends: by a panic of the store as well, and then nobody may go on waiting for it.
impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.queues[self.number].abandon(&mut self.line);
    }
}
