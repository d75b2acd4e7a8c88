use std::{collections::HashMap, hash::Hash, sync::Arc};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// How many of something each key has.
#[derive(Debug)]
pub(super) struct Held<K>(Mutex<HashMap<K, u32, RandomState>>);

/// One of what a key has, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Eq + Hash> {
    of: K,
    held: Arc<Held<K>>,
}

impl<K> Default for Held<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Copy> Held<K> {
    /// One more, where the key has fewer than `limit`.
    pub(super) fn take(self: &Arc<Self>, of: K, limit: Option<u32>) -> Option<Place<K>> {
        let mut held = self.0.lock();
        let count = held.entry(of).or_default();
        if limit.is_some_and(|limit| *count >= limit) {
            return None;
        }
        *count += 1;
        Some(Place { of, held: Arc::clone(self) })
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut held = self.held.0.lock();
        let Some(count) = held.get_mut(&self.of) else { return };
        *count -= 1;
        if *count == 0 {
            held.remove(&self.of);
        }
    }
}
