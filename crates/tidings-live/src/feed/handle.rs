use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidings_core::{Epoch, Seq, TenantId};

use super::{Ended, Feed, FeedId};
use crate::{Watch, Watcher};

/// Keeps a feed open. Cheap to clone; where the last one goes, the feed lingers for a while.
pub struct FeedHandle(Arc<Feed>);

impl FeedHandle {
    /// Only for a feed that has another handle, or under the registry's lock: else the janitor could
    /// take the feed away in between.
    pub(crate) fn new(feed: Arc<Feed>) -> Self {
        feed.handles.fetch_add(1, Ordering::AcqRel);
        Self(feed)
    }

    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.0
    }

    pub fn id(&self) -> FeedId {
        self.0.id
    }

    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }

    pub fn epoch(&self) -> &Epoch {
        self.0.epoch()
    }

    /// The newest seq that a subscriber can have.
    pub fn head(&self) -> Seq {
        self.0.head()
    }

    /// The oldest seq that is kept, as far as this node has heard.
    pub fn oldest(&self) -> Seq {
        self.0.oldest()
    }

    /// For how long the store has not confirmed the head, where that is longer than
    /// [`LiveConfig::stale`](crate::LiveConfig::stale).
    pub fn stale_for(&self) -> Option<Duration> {
        self.0.stale_for()
    }

    pub fn ended(&self) -> Option<Ended> {
        self.0.ended()
    }

    /// Calls `watcher` from now on whenever something changes. Register first and look afterwards:
    /// then nothing is missed.
    pub fn watch(&self, watcher: Arc<dyn Watcher>) -> Watch {
        Watch::new(self.clone(), watcher)
    }
}

impl Clone for FeedHandle {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl Drop for FeedHandle {
    fn drop(&mut self) {
        self.0.handles.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for FeedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeedHandle")
            .field("id", &self.0.id)
            .field("tenant", &self.0.tenant)
            .finish_non_exhaustive()
    }
}
