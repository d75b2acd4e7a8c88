//! Which tenants' news are wanted, and which channels the server knows of.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::TenantId;
use tokio::sync::{Notify, oneshot};

/// Bounded by the feeds that are open.
#[derive(Debug, Default)]
pub(super) struct Interest {
    state: Mutex<State>,
    /// Something is to be joined or left.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: HashMap<TenantId, Entry, RandomState>,
    /// Whose entries the server may not know as they are; each once.
    dirty: Vec<TenantId>,
}

#[derive(Debug, Default)]
struct Entry {
    joins: usize,
    /// The server sends this channel.
    held: bool,
    dirty: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

/// What the server is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) join: Vec<TenantId>,
    pub(super) leave: Vec<TenantId>,
}

impl State {
    fn mark(&mut self, tenant: &TenantId) {
        let Some(entry) = self.entries.get_mut(tenant) else { return };
        if !std::mem::replace(&mut entry.dirty, true) {
            self.dirty.push(tenant.clone());
        }
    }

    fn prune(&mut self, tenant: &TenantId) {
        if self.entries.get(tenant).is_some_and(|entry| entry.joins == 0 && !entry.held && !entry.dirty) {
            self.entries.remove(tenant);
        }
    }
}

impl Interest {
    pub(super) fn join(&self, tenant: &TenantId) {
        {
            let mut state = self.state.lock();
            state.entries.entry(tenant.clone()).or_default().joins += 1;
            state.mark(tenant);
        }
        self.changed.notify_one();
    }

    pub(super) fn leave(&self, tenant: &TenantId) {
        {
            let mut state = self.state.lock();
            let Some(entry) = state.entries.get_mut(tenant) else { return };
            entry.joins = entry.joins.saturating_sub(1);
            if entry.joins > 0 {
                return;
            }
            state.mark(tenant);
        }
        self.changed.notify_one();
    }

    /// Resolves when the server sends the channel, or will not. `None`: it does already, or nobody joined.
    pub(super) fn joined(&self, tenant: &TenantId) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state.lock();
        let entry = state.entries.get_mut(tenant).filter(|entry| !entry.held && entry.joins > 0)?;
        // Those who went away make room.
        entry.waiting.retain(|waiting| !waiting.is_closed());
        let (held, joined) = oneshot::channel();
        entry.waiting.push(held);
        Some(joined)
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().entries.len()
    }

    /// The server knows of no channel: a new connection.
    pub(super) fn forget(&self) {
        {
            let mut state = self.state.lock();
            let tenants: Vec<TenantId> = state.entries.keys().cloned().collect();
            for tenant in &tenants {
                if let Some(entry) = state.entries.get_mut(tenant) {
                    entry.held = false;
                    entry.waiting.clear();
                }
                state.mark(tenant);
            }
        }
        self.changed.notify_one();
    }

    /// The server has stopped to send this channel, whether that was asked for or not.
    pub(super) fn lost(&self, tenant: &TenantId) {
        {
            let mut state = self.state.lock();
            let Some(entry) = state.entries.get_mut(tenant) else { return };
            entry.held = false;
            state.mark(tenant);
        }
        self.changed.notify_one();
    }

    /// What is to be told now, at most `max` of each kind.
    pub(super) fn take(&self, max: usize) -> Changes {
        let mut state = self.state.lock();
        let mut changes = Changes::default();
        while changes.join.len().max(changes.leave.len()) < max {
            let Some(tenant) = state.dirty.pop() else { break };
            let Some(entry) = state.entries.get_mut(&tenant) else { continue };
            entry.dirty = false;
            match (entry.joins > 0, entry.held) {
                (true, false) => changes.join.push(tenant),
                (false, true) => changes.leave.push(tenant),
                _ => state.prune(&tenant),
            }
        }
        changes
    }

    /// The server has done it.
    pub(super) fn told(&self, changes: &Changes) {
        let mut waiting = Vec::new();
        {
            let mut state = self.state.lock();
            for tenant in &changes.join {
                if let Some(entry) = state.entries.get_mut(tenant) {
                    entry.held = true;
                    waiting.append(&mut entry.waiting);
                }
            }
            for tenant in &changes.leave {
                if let Some(entry) = state.entries.get_mut(tenant) {
                    entry.held = false;
                }
                state.prune(tenant);
            }
        }
        // Whoever stopped waiting does not mind.
        for held in waiting {
            let _ = held.send(());
        }
    }

    /// Returns when [`take`](Self::take) may have something.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).expect("valid")
    }

    fn names(tenants: &[TenantId]) -> Vec<&str> {
        tenants.iter().map(TenantId::as_str).collect()
    }

    #[test]
    fn a_channel_is_left_when_the_last_has_left_it() {
        let interest = Interest::default();
        let a = tenant("a");
        interest.join(&a);
        interest.join(&a);
        let mut joined = interest.joined(&a).expect("not yet");
        let changes = interest.take(10);
        assert_eq!((names(&changes.join), changes.leave.len()), (vec!["a"], 0));
        interest.told(&changes);
        assert!(joined.try_recv().is_ok() && interest.joined(&a).is_none());
        interest.leave(&a);
        assert_eq!(interest.take(10), Changes::default());
        interest.leave(&a);
        let changes = interest.take(10);
        assert_eq!((changes.join.len(), names(&changes.leave)), (0, vec!["a"]));
        interest.told(&changes);
        assert_eq!(interest.len(), 0);
    }

    #[test]
    fn one_that_comes_back_while_it_is_left_is_joined_again() {
        let interest = Interest::default();
        let a = tenant("a");
        interest.join(&a);
        interest.told(&interest.take(10));
        interest.leave(&a);
        let leaving = interest.take(10);
        interest.join(&a);
        interest.told(&leaving);
        let joining = interest.take(10);
        assert_eq!(names(&joining.join), ["a"]);
        interest.told(&joining);
        interest.lost(&a);
        assert_eq!(names(&interest.take(10).join), ["a"]);
    }

    #[test]
    fn a_new_connection_joins_everything_anew() {
        let interest = Interest::default();
        for name in ["a", "b", "c"] {
            interest.join(&tenant(name));
        }
        interest.told(&interest.take(10));
        interest.leave(&tenant("b"));
        let waits = interest.joined(&tenant("a"));
        assert!(waits.is_none());
        interest.forget();
        let mut first = interest.take(1).join;
        first.extend(interest.take(10).join);
        first.sort();
        assert_eq!(names(&first), ["a", "c"]);
        assert_eq!(interest.len(), 2);
    }
}
