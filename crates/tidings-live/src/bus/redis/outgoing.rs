//! What waits to be published.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{Epoch, Event, TenantId};
use tokio::{sync::Notify, time::Instant};

use crate::{Slot, bus::Histories};

const EVENTS_MAX: usize = 65_536;
const BYTES_MAX: usize = 64 << 20;
/// What has waited for longer is of no use to anybody: the store has told of it.
const AGE_MAX: Duration = Duration::from_secs(2);
/// Bytes that are taken at once.
const TAKE_BYTES: usize = 1 << 20;

/// Bounded: where it is full, or Redis was out of reach for too long, the oldest go and are counted.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    state: Mutex<State>,
    filled: Notify,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    commits: VecDeque<Commit>,
    events: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Commit {
    at: Instant,
    events: Vec<Arc<Event>>,
    epochs: Vec<(TenantId, Epoch)>,
    bytes: usize,
}

/// One tenant's events that are to be published together, in the order of their seqs.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) tenant: TenantId,
    pub(super) epoch: Epoch,
    pub(super) events: Vec<Arc<Event>>,
}

impl Outgoing {
    pub(super) fn push(&self, events: &[Arc<Event>], epochs: &[(TenantId, Epoch)]) {
        let bytes = events.iter().map(|event| Slot::cost(event)).sum();
        let commit = Commit { at: Instant::now(), events: events.into(), epochs: epochs.into(), bytes };
        let mut gone = Vec::new();
        {
            let mut state = self.state.lock();
            state.events += commit.events.len();
            state.bytes += bytes;
            state.commits.push_back(commit);
            while state.events > EVENTS_MAX || state.bytes > BYTES_MAX {
                gone.extend(state.pop());
            }
        }
        self.count(&gone);
        self.filled.notify_one();
    }

    /// What is to be published now, tenant by tenant; nothing where nothing waits.
    pub(super) fn take(&self) -> Vec<Run> {
        let (mut commits, mut gone) = (Vec::new(), Vec::new());
        {
            let mut state = self.state.lock();
            let mut bytes = 0;
            while bytes < TAKE_BYTES
                && let Some(commit) = state.pop()
            {
                if commit.at.elapsed() > AGE_MAX {
                    gone.push(commit);
                } else {
                    bytes += commit.bytes;
                    commits.push(commit);
                }
            }
        }
        self.count(&gone);
        runs(&commits)
    }

    fn count(&self, gone: &[Commit]) {
        let events: usize = gone.iter().map(|commit| commit.events.len()).sum();
        self.dropped.fetch_add(events as u64, Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Returns when [`take`](Self::take) may have something.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

impl State {
    fn pop(&mut self) -> Option<Commit> {
        let commit = self.commits.pop_front()?;
        self.events -= commit.events.len();
        self.bytes -= commit.bytes;
        Some(commit)
    }
}

/// Each tenant's events of all commits together and in order, unless its history has changed in between: what several tenants
/// share goes through another lane than what is a tenant's alone, and may be told before it.
fn runs(commits: &[Commit]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut last: HashMap<TenantId, usize, RandomState> = HashMap::default();
    for commit in commits {
        let mut histories = Histories::new(&commit.epochs);
        for events in commit.events.chunk_by(|a, b| a.tenant == b.tenant) {
            let tenant = &events[0].tenant;
            // One that was deleted in the same commit has no readers.
            let Some(epoch) = histories.of(tenant) else { continue };
            match last.get(tenant) {
                Some(at) if runs[*at].epoch == *epoch => runs[*at].events.extend_from_slice(events),
                _ => {
                    last.insert(tenant.clone(), runs.len());
                    runs.push(Run { tenant: tenant.clone(), epoch: epoch.clone(), events: events.into() });
                }
            }
        }
    }
    for run in &mut runs {
        run.events.sort_by_key(|event| event.seq);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{event, event_of_size, tenant};

    fn epochs(name: &str) -> Vec<(TenantId, Epoch)> {
        vec![(tenant(), Epoch::parse(name).expect("valid"))]
    }

    fn push(outgoing: &Outgoing, seqs: std::ops::Range<u64>, epoch: &str) {
        let events: Vec<_> = seqs.map(|seq| Arc::new(event(seq))).collect();
        outgoing.push(&events, &epochs(epoch));
    }

    #[tokio::test(start_paused = true)]
    async fn commits_are_taken_together_and_histories_apart() {
        let outgoing = Outgoing::default();
        push(&outgoing, 3..5, "e1");
        push(&outgoing, 1..3, "e1");
        push(&outgoing, 1..2, "e2");
        let runs = outgoing.take();
        let summary: Vec<_> =
            runs.iter().map(|r| (r.epoch.as_str(), r.events.iter().map(|e| e.seq.get()).collect())).collect();
        assert_eq!(summary, [("e1", vec![1, 2, 3, 4]), ("e2", vec![1])]);
        assert!(outgoing.take().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_make_room_and_the_too_old_are_dropped() {
        let outgoing = Outgoing::default();
        push(&outgoing, 1..40_001, "e1");
        push(&outgoing, 40_001..80_001, "e1");
        assert_eq!(outgoing.dropped(), 40_000);
        let large: Vec<_> = [Arc::new(event_of_size(80_001, BYTES_MAX / 2))].into();
        outgoing.push(&large, &epochs("e1"));
        assert_eq!(outgoing.dropped(), 40_000, "both fit");
        tokio::time::advance(AGE_MAX + Duration::from_millis(1)).await;
        assert!(outgoing.take().is_empty());
        assert_eq!(outgoing.dropped(), 80_001);
    }
}
