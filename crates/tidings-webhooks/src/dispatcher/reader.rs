//! What is to be sent: matching events after a cursor, a few at a time.

use std::{collections::VecDeque, sync::Arc};

use tidings_core::{Cursor, Endpoint, Seq, webhook::Format};
use tidings_live::{
    Collected, Due, Encoding, FeedHandle, Form, Page, PageRequest, Start, Subscription, SubscriptionSpec,
    Transport,
};
use tidings_store::ReadError;

/// An endpoint's way through the log. It reads through the feed, so that all endpoints of a tenant, and its
/// subscribers, share what is read and encoded.
#[derive(Debug)]
pub(super) struct Reader {
    subscription: Subscription,
    form: Form,
    queue: VecDeque<Due>,
    /// A page was asked for and has not come.
    paging: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// What comes next is gone, or the feed has ended: whoever reads must begin anew.
    Over,
}

impl Reader {
    /// Events that wait here for their turn; with fewer than a quarter of them it reads on.
    const QUEUE: usize = 64;

    pub(super) fn new(feed: FeedHandle, endpoint: &Endpoint, after: Seq) -> Self {
        let spec = SubscriptionSpec {
            filter: endpoint.spec.filter.clone(),
            audience: endpoint.audience(),
            encoding: Encoding { transport: Transport::WebSocket, verbosity: endpoint.spec.verbosity },
            start: Start::After(Cursor::bare(after)),
        };
        let (subscription, reset) = Subscription::new(feed, spec);
        let form = match endpoint.spec.format {
            Format::Standard => Form::Envelope,
            Format::Cloudevents => Form::CloudEvent,
            Format::CloudeventsBinary => Form::Data,
        };
        let state = if reset.is_some() { State::Over } else { State::Reading };
        Self { subscription, form, queue: VecDeque::new(), paging: false, state }
    }

    /// Reads on where little waits. What it returns is to be read, and [`supply`](Self::supply)ed.
    pub(super) fn fill(&mut self) -> Option<PageRequest> {
        if self.paging || self.is_over() || self.queue.len() > Self::QUEUE / 4 {
            return None;
        }
        let mut found = Vec::new();
        let collected = self.subscription.collect(self.form, Self::QUEUE - self.queue.len(), &mut found);
        self.queue.extend(found);
        match collected {
            Collected::Full | Collected::Idle => None,
            Collected::Page(request) => {
                self.paging = true;
                Some(request)
            }
            Collected::Reset(_) | Collected::Ended(_) => {
                self.state = State::Over;
                None
            }
        }
    }

    pub(super) fn supply(&mut self, page: Result<Arc<Page>, ReadError>) {
        self.paging = false;
        self.subscription.supply(page);
    }

    pub(super) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    pub(super) fn front(&self) -> Option<&Due> {
        self.queue.front()
    }

    pub(super) fn pop(&mut self) -> Option<Due> {
        self.queue.pop_front()
    }

    /// Every match up to here was popped.
    pub(super) fn through(&self) -> Seq {
        self.front().map_or_else(|| self.subscription.cursor().seq, |due| due.event.seq.prev())
    }
}
