use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use slab::Slab;
use tidings_live::{FeedHandle, FeedId, Watch};

use crate::mailbox::{Flag, Mailbox};

/// The feeds of one shard and which of its connections read them.
pub(super) struct Feeds {
    feeds: Slab<Feed>,
    numbers: HashMap<FeedId, usize, RandomState>,
}

struct Feed {
    id: FeedId,
    flag: Arc<Flag>,
    /// Connections by their key. A connection knows its index here.
    members: Vec<usize>,
    _watch: Watch,
}

/// Where a connection is listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Membership {
    number: usize,
    index: usize,
}

impl Feeds {
    pub(super) fn new() -> Self {
        Self { feeds: Slab::new(), numbers: HashMap::default() }
    }

    /// Lists a connection. The feed is watched from here on, so look at it afterwards.
    pub(super) fn join(&mut self, handle: &FeedHandle, key: usize, mailbox: &Arc<Mailbox>) -> Membership {
        let id = handle.id();
        let number = *self.numbers.entry(id).or_insert_with(|| {
            let entry = self.feeds.vacant_entry();
            let number = entry.key();
            let flag = Flag::new(mailbox.clone(), number);
            let watch = handle.watch(flag.clone());
            entry.insert(Feed { id, flag, members: Vec::new(), _watch: watch });
            number
        });
        let members = &mut self.feeds[number].members;
        members.push(key);
        Membership { number, index: members.len() - 1 }
    }

    /// Takes a connection off the list. `Some`: this one has taken its membership over.
    pub(super) fn leave(&mut self, membership: Membership) -> Option<usize> {
        let Membership { number, index } = membership;
        let feed = &mut self.feeds[number];
        feed.members.swap_remove(index);
        if feed.members.is_empty() {
            let feed = self.feeds.remove(number);
            self.numbers.remove(&feed.id);
            return None;
        }
        feed.members.get(index).copied()
    }

    /// The connections of a feed that has moved, in `into`; none if the feed is no longer read.
    pub(super) fn readers(&self, number: usize, into: &mut Vec<usize>) {
        if let Some(feed) = self.feeds.get(number) {
            feed.flag.lower();
            into.extend_from_slice(&feed.members);
        }
    }
}
