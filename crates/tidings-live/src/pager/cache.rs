//! Pages that were read, the least recently used given up first.

use std::{collections::BTreeMap, sync::Arc};

use tidings_core::Seq;

use super::{Key, Page};
use crate::{FeedId, gauge::Gauge};

#[derive(Debug, Default)]
pub(crate) struct Cache {
    pages: BTreeMap<Key, Entry>,
    /// By last use.
    by_use: BTreeMap<u64, Key>,
    last_use: u64,
}

#[derive(Debug)]
struct Entry {
    page: Arc<Page>,
    used: u64,
}

impl Cache {
    pub(crate) fn get(&mut self, feed: FeedId, cursor: Seq) -> Option<Arc<Page>> {
        let (key, entry) = self.pages.range_mut((feed, Seq::ZERO)..=(feed, cursor)).next_back()?;
        if !entry.page.covers(cursor) {
            return None;
        }
        self.last_use += 1;
        self.by_use.remove(&entry.used);
        self.by_use.insert(self.last_use, *key);
        entry.used = self.last_use;
        Some(entry.page.clone())
    }

    /// Puts a page in the place of what was read there before. While all pages together, those that
    /// readers hold too, take more than `bytes_max`, the longest unused go; this one stays. Returns what
    /// went, to be dropped once no lock is held.
    pub(crate) fn insert(
        &mut self,
        key: Key,
        page: Arc<Page>,
        gauge: &Gauge,
        bytes_max: usize,
    ) -> Vec<Arc<Page>> {
        self.last_use += 1;
        let used = self.last_use;
        let mut gone = Vec::new();
        if let Some(old) = self.pages.insert(key, Entry { page, used }) {
            self.by_use.remove(&old.used);
            gone.push(old.page);
        }
        self.by_use.insert(used, key);
        let mut excess = gauge.get().saturating_sub(bytes_max);
        while excess > 0 && self.pages.len() > 1 {
            let (_, key) = self.by_use.pop_first().expect("every page has a last use");
            let entry = self.pages.remove(&key).expect("every use is a page's");
            excess = excess.saturating_sub(entry.page.held());
            gone.push(entry.page);
        }
        gone
    }

    pub(crate) fn forget(&mut self, feed: FeedId) -> Vec<Arc<Page>> {
        let keys: Vec<Key> =
            self.pages.range((feed, Seq::ZERO)..=(feed, Seq::MAX)).map(|(key, _)| *key).collect();
        let entries = keys.iter().filter_map(|key| self.pages.remove(key));
        let gone: Vec<Entry> = entries.collect();
        for entry in &gone {
            self.by_use.remove(&entry.used);
        }
        gone.into_iter().map(|entry| entry.page).collect()
    }
}
