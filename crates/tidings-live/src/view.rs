//! What a subscriber sees of a feed, named by a number, so that subscribers who see the same share
//! their batches at the cost of comparing two numbers.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tidings_core::{Audience, Event, Filter};

/// A filter within an audience. Two with the same content have the same id; an id is never used again.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) id: u64,
    content: Arc<Content>,
    /// Absent where everything passes.
    table: Weak<Views>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Content {
    filter: Filter,
    audience: Audience,
    everything: bool,
}

impl View {
    /// Whether no event needs to be looked at.
    pub(crate) fn is_everything(&self) -> bool {
        self.content.everything
    }

    pub(crate) fn admits(&self, event: &Event) -> bool {
        self.content.everything
            || (self.content.audience.admits(&event.fact) && self.content.filter.matches(&event.fact))
    }

    pub(crate) fn filter(&self) -> &Filter {
        &self.content.filter
    }

    pub(crate) fn audience(&self) -> &Audience {
        &self.content.audience
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.forget(self);
        }
    }
}

/// The views in use. Bounded by the subscriptions that hold them.
#[derive(Debug, Default)]
pub(crate) struct Views(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    by_content: HashMap<Arc<Content>, (u64, Weak<View>)>,
    last_id: u64,
}

impl Views {
    pub(crate) fn get(self: &Arc<Self>, filter: Filter, audience: Audience) -> Arc<View> {
        let everything = filter.is_empty() && audience.is_unlimited();
        let content = Arc::new(Content { filter, audience, everything });
        let mut table = self.0.lock();
        if let Some(view) = table.by_content.get(&content).and_then(|(_, view)| view.upgrade()) {
            return view;
        }
        table.last_id += 1;
        let id = table.last_id;
        let view = Arc::new(View { id, content: content.clone(), table: Arc::downgrade(self) });
        table.by_content.insert(content, (id, Arc::downgrade(&view)));
        view
    }

    fn forget(&self, view: &View) {
        let mut table = self.0.lock();
        // Another of the same content may have been made since this one was let go.
        if table.by_content.get(&view.content).is_some_and(|(id, _)| *id == view.id) {
            table.by_content.remove(&view.content);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().by_content.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(types: &str) -> Filter {
        Filter::from_pairs([("types", types)], None).expect("valid")
    }

    #[test]
    fn the_same_content_is_one_view_while_it_is_held() {
        let views = Arc::new(Views::default());
        let a = views.get(filter("a.*"), Audience::unlimited());
        let b = views.get(filter("a.*"), Audience::unlimited());
        let c = views.get(filter("b.*"), Audience::unlimited());
        assert_eq!(a.id, b.id);
        assert_ne!(a.id, c.id);
        let id = a.id;
        drop((a, b, c));
        assert_eq!(views.len(), 0);
        assert_ne!(
            views.get(filter("a.*"), Audience::unlimited()).id,
            id,
            "an id names one content for good"
        );
    }
}
