use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tidings_core::{Tenants, WorkerName};
use tokio_util::sync::CancellationToken;

/// The long polls that wait for jobs, so that a worker that stops can end its own: were it just to go
/// away, it would lose the leases of an answer that is on its way.
#[derive(Debug, Clone, Default)]
pub(super) struct Polls(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<WorkerName, Vec<Waiting>, foldhash::fast::RandomState>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    tenants: Tenants,
    over: CancellationToken,
}

/// One poll's entry, until it is dropped.
#[derive(Debug)]
pub(super) struct Poll {
    polls: Polls,
    worker: WorkerName,
    number: u64,
    over: CancellationToken,
}

impl Polls {
    pub(super) fn begin(&self, worker: &WorkerName, tenants: &Tenants) -> Poll {
        let over = CancellationToken::new();
        let mut state = self.0.lock();
        let number = state.next;
        state.next += 1;
        let waiting = Waiting { number, tenants: tenants.clone(), over: over.clone() };
        state.waiting.entry(worker.clone()).or_default().push(waiting);
        Poll { polls: self.clone(), worker: worker.clone(), number, over }
    }

    /// Ends the polls that this worker has for exactly these tenants; returns how many.
    pub(super) fn end(&self, worker: &WorkerName, tenants: &Tenants) -> usize {
        let state = self.0.lock();
        let polls = state.waiting.get(worker).map_or(&[][..], Vec::as_slice);
        polls.iter().filter(|poll| poll.tenants == *tenants).map(|poll| poll.over.cancel()).count()
    }
}

impl Poll {
    /// Returns when somebody has ended it.
    pub(super) async fn over(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        let mut state = self.polls.0.lock();
        let Some(waiting) = state.waiting.get_mut(&self.worker) else { return };
        waiting.retain(|poll| poll.number != self.number);
        if waiting.is_empty() {
            state.waiting.remove(&self.worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::TenantId;

    #[test]
    fn a_worker_ends_its_own_polls_and_no_other() {
        let worker = |name: &str| WorkerName::new(name).expect("valid");
        let tenant = |id: &str| Tenants::One(TenantId::new(id).expect("valid"));
        let polls = Polls::default();
        let own = [polls.begin(&worker("a"), &tenant("acme")), polls.begin(&worker("a"), &tenant("acme"))];
        let others =
            [polls.begin(&worker("b"), &tenant("acme")), polls.begin(&worker("a"), &tenant("other"))];
        assert_eq!(polls.end(&worker("a"), &tenant("acme")), 2);
        assert!(own.iter().all(|poll| poll.over.is_cancelled()));
        assert!(others.iter().all(|poll| !poll.over.is_cancelled()));
        drop(own);
        assert_eq!(polls.end(&worker("a"), &tenant("acme")), 0);
        drop(others);
        assert!(polls.0.lock().waiting.is_empty());
    }
}
