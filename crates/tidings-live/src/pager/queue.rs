//! Which page is read next: tenants in turn, each tenant's pages in the order they were asked for.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tidings_core::Seq;
use tokio::sync::oneshot;

use super::{Answer, Key};
use crate::{FeedId, feed::Feed};

/// Bounded by the subscriptions that wait: each asks for one page at a time.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Who waits for each page that is queued or being read.
    asked: HashMap<Key, Vec<oneshot::Sender<Answer>>>,
    by_feed: HashMap<FeedId, Line>,
    /// Feeds with a line, whose turn it is first.
    turns: VecDeque<FeedId>,
}

#[derive(Debug)]
struct Line {
    feed: Arc<Feed>,
    starts: VecDeque<Seq>,
}

impl Queue {
    /// Returns whether somebody had asked for it before.
    pub(crate) fn ask(&mut self, feed: &Arc<Feed>, start: Seq, asker: oneshot::Sender<Answer>) -> bool {
        let askers = self.asked.entry((feed.id, start)).or_default();
        askers.push(asker);
        if askers.len() > 1 {
            return true;
        }
        let line = self.by_feed.entry(feed.id).or_insert_with(|| {
            self.turns.push_back(feed.id);
            Line { feed: feed.clone(), starts: VecDeque::new() }
        });
        line.starts.push_back(start);
        false
    }

    /// The next page to read, passing over those that nobody waits for any more.
    pub(crate) fn take(&mut self) -> Option<(Arc<Feed>, Seq)> {
        loop {
            let id = self.turns.pop_front()?;
            let line = self.by_feed.get_mut(&id).expect("a feed with a turn has a line");
            let start = line.starts.pop_front().expect("a line is never empty");
            let feed = line.feed.clone();
            if line.starts.is_empty() {
                self.by_feed.remove(&id);
            } else {
                self.turns.push_back(id);
            }
            let wanted =
                self.asked.get(&(id, start)).is_some_and(|askers| askers.iter().any(|a| !a.is_closed()));
            if wanted {
                return Some((feed, start));
            }
            self.asked.remove(&(id, start));
        }
    }

    /// Who waited for the page.
    pub(crate) fn done(&mut self, key: Key) -> Vec<oneshot::Sender<Answer>> {
        self.asked.remove(&key).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::detached_feed;

    #[test]
    fn tenants_take_turns_and_a_page_is_asked_for_once() {
        let mut queue = Queue::default();
        let (a, b) = (detached_feed(1), detached_feed(2));
        let mut waiting = Vec::new();
        let mut ask = |queue: &mut Queue, feed: &Arc<Feed>, start: u64| {
            let (sender, receiver) = oneshot::channel();
            waiting.push(receiver);
            queue.ask(feed, Seq::new(start), sender)
        };
        assert!(!ask(&mut queue, &a, 0));
        assert!(ask(&mut queue, &a, 0));
        assert!(!ask(&mut queue, &a, 512));
        assert!(!ask(&mut queue, &a, 1_024));
        assert!(!ask(&mut queue, &b, 0));
        let order: Vec<_> = std::iter::from_fn(|| queue.take()).map(|(f, s)| (f.id.0, s.get())).collect();
        assert_eq!(order, [(1, 0), (2, 0), (1, 512), (1, 1_024)]);
        assert_eq!(queue.done((a.id, Seq::ZERO)).len(), 2);
    }

    #[test]
    fn a_page_that_nobody_waits_for_is_not_read() {
        let mut queue = Queue::default();
        let feed = detached_feed(1);
        drop({
            let (sender, receiver) = oneshot::channel();
            queue.ask(&feed, Seq::ZERO, sender);
            receiver
        });
        assert!(queue.take().is_none());
        assert!(queue.asked.is_empty());
    }
}
