//! Who is told that a feed has something new.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use slab::Slab;

use crate::{FeedHandle, FeedId};

/// Is told that a feed has moved: events were appended, or it has ended.
pub trait Watcher: Send + Sync {
    /// Called after the change can be seen, with no lock held, from any thread; several changes may
    /// be told once. It must not block: a commit waits for it.
    fn advanced(&self, feed: FeedId);
}

/// Keeps a [`Watcher`] registered, and the feed alive. A call that is under way while this is dropped
/// may still come.
pub struct Watch {
    feed: FeedHandle,
    key: usize,
}

impl Watch {
    pub(crate) fn new(feed: FeedHandle, watcher: Arc<dyn Watcher>) -> Self {
        let key = feed.feed().watchers.insert(watcher);
        Self { feed, key }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.feed.feed().watchers.remove(self.key);
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("feed", &self.feed.id()).finish_non_exhaustive()
    }
}

type Shared = Arc<[Arc<dyn Watcher>]>;

/// A feed's watchers. Registering costs the same whatever their number; the list that a notification
/// goes through is made again only after a change.
#[derive(Default)]
pub(crate) struct Watchers(Mutex<State>);

#[derive(Default)]
struct State {
    all: Slab<Arc<dyn Watcher>>,
    list: Option<Shared>,
}

impl Watchers {
    fn insert(&self, watcher: Arc<dyn Watcher>) -> usize {
        let mut state = self.0.lock();
        state.list = None;
        state.all.insert(watcher)
    }

    fn remove(&self, key: usize) {
        let removed = {
            let mut state = self.0.lock();
            (state.list.take(), state.all.remove(key))
        };
        // Outside the lock: a watcher's own drop is none of ours.
        drop(removed);
    }

    pub(crate) fn notify(&self, feed: FeedId) {
        let list = {
            let mut guard = self.0.lock();
            let State { all, list } = &mut *guard;
            list.get_or_insert_with(|| all.iter().map(|(_, w)| w.clone()).collect()).clone()
        };
        for watcher in &*list {
            watcher.advanced(feed);
        }
    }
}

impl fmt::Debug for Watchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchers").finish_non_exhaustive()
    }
}
