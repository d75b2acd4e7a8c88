//! How many attempts are under way on this node, and whose.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tidings_core::TenantId;
use tokio::sync::Notify;

use crate::shares::Shares;

/// The attempts that may be under way at once, which tenants [share](Shares): receivers that hang cost their own tenant.
/// Attempts that are no first ones have at most a quarter, and of that a tenant has its share by the same rule.
#[derive(Debug)]
pub(super) struct Slots {
    max: usize,
    again_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    all: Shares,
    /// Of these, those of attempts that are no first ones.
    again: Shares,
    /// Who was refused, in order. Beyond [`Slots::WAITING_MAX`] nobody is added: who is refused looks again by itself.
    waiting: VecDeque<Arc<Notify>>,
}

/// An attempt that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    tenant: TenantId,
    again: bool,
}

impl Slots {
    const WAITING_MAX: usize = 4_096;
    /// Who is told of one slot that became free: not each of them may take it.
    const TOLD: usize = 4;

    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, again_max: (max / 4).max(1), state: Mutex::default() })
    }

    /// A slot, or `bell` rings when it may be worth asking again.
    pub(super) fn take(self: &Arc<Self>, tenant: &TenantId, again: bool, bell: &Arc<Notify>) -> Option<Slot> {
        let mut state = self.state.lock();
        if !state.all.admit(tenant, self.max) || (again && !state.again.admit(tenant, self.again_max)) {
            if state.waiting.len() < Self::WAITING_MAX {
                state.waiting.push_back(Arc::clone(bell));
            }
            return None;
        }
        state.all.enter(tenant);
        if again {
            state.again.enter(tenant);
        }
        drop(state);
        Some(Slot { slots: Arc::clone(self), tenant: tenant.clone(), again })
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.state.lock().all.taken()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let told = {
            let mut state = self.slots.state.lock();
            state.all.leave(&self.tenant);
            if self.again {
                state.again.leave(&self.tenant);
            }
            let told = state.waiting.len().min(Slots::TOLD);
            state.waiting.drain(..told).collect::<smallvec::SmallVec<[_; Slots::TOLD]>>()
        };
        told.iter().for_each(|bell| bell.notify_one());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).expect("valid")
    }

    fn all(slots: &Arc<Slots>, name: &str, again: bool) -> Vec<Slot> {
        let (tenant, bell) = (tenant(name), Arc::default());
        std::iter::from_fn(|| slots.take(&tenant, again, &bell)).collect()
    }

    #[test]
    fn a_greedy_tenant_leaves_room_for_the_others() {
        let slots = Slots::new(12);
        let a = all(&slots, "a", false);
        assert_eq!(a.len(), 6);
        let b = all(&slots, "b", false);
        assert_eq!(b.len(), 3);
        assert_eq!(all(&slots, "c", false).len(), 2);
        drop((a, b));
        assert_eq!(slots.taken(), 0);
    }

    #[test]
    fn retries_have_their_own_share() {
        let slots = Slots::new(16);
        let a = all(&slots, "a", true);
        assert_eq!(a.len(), 2, "a greedy tenant leaves room for the others' repeats too");
        let b = all(&slots, "b", true);
        let c = all(&slots, "c", true);
        assert_eq!((b.len(), c.len()), (1, 1));
        assert_eq!(all(&slots, "d", true).len(), 0);
        assert_eq!(all(&slots, "b", false).len(), 6);
        drop((a, b, c));
        assert_eq!(all(&slots, "d", true).len(), 2, "all are back");
    }

    #[tokio::test]
    async fn who_was_refused_hears_of_a_free_slot() {
        let slots = Slots::new(2);
        let (bell, tenant) = (Arc::default(), tenant("a"));
        let slot = slots.take(&tenant, false, &bell).expect("free");
        assert!(slots.take(&tenant, false, &bell).is_none());
        drop(slot);
        bell.notified().await;
        assert!(slots.take(&tenant, false, &bell).is_some());
    }
}
