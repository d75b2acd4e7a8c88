//! Reading event by event, for readers that write no frames.

use std::sync::Arc;

use bytes::Bytes;
use tidings_core::{Event, Seq};

use super::{Next, Subscription};
use crate::{Ended, PageRequest, Reset, Slot, feed::RingRead};

/// An event that is due, with its bytes, which are shared with everybody else who gets them.
#[derive(Debug, Clone)]
pub struct Due {
    pub event: Arc<Event>,
    pub body: Bytes,
}

/// What an event's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// That of every transport: the same bytes as in a WebSocket frame.
    Envelope,
    /// CloudEvents in structured mode.
    CloudEvent,
    /// The event's data alone.
    Data,
}

/// What [`Subscription::collect`] came to.
#[derive(Debug)]
pub enum Collected {
    /// There may be more: ask again when there is room.
    Full,
    /// As [`Next::Page`](super::Next::Page).
    Page(PageRequest),
    /// Nothing is due until the feed's watcher is told.
    Idle,
    Reset(Reset),
    /// Nothing more comes.
    Ended(Ended),
}

/// Events that one look into a ring goes through.
const LOOK: usize = 256;

impl Subscription {
    /// Puts what is due into `out` until that has `max` events. For a reader whose pace is its own: it is
    /// never too far behind, and no measure of lag counts it.
    pub fn collect(&mut self, form: Form, max: usize, out: &mut Vec<Due>) -> Collected {
        if let Some(ended) = self.ended() {
            return Collected::Ended(ended);
        }
        if let Some(reset) = self.reset.take() {
            return Collected::Reset(reset);
        }
        let (mut page_used, mut slots) = (false, Vec::new());
        while out.len() < max {
            let head = self.feed.head();
            if self.cursor >= head {
                return match self.at_head(head) {
                    Next::Page(request) => Collected::Page(request),
                    _ => Collected::Idle,
                };
            }
            match self.feed.feed().read_ring(self.cursor, LOOK, usize::MAX, &mut slots) {
                RingRead::Covered => {
                    self.page = None;
                    let through = slots.last().map_or(self.cursor, |slot| slot.seq());
                    self.take_due(form, (slots.iter().map(|slot| &**slot), through), max, out);
                    slots.clear();
                }
                RingRead::Behind => match self.take_page(&mut page_used) {
                    Ok(page) => {
                        self.take_due(form, (page.after(self.cursor).iter(), page.through()), max, out);
                        // What is left of it is for the next call.
                        self.page = Some(page);
                    }
                    Err(want) => return Collected::Page(PageRequest { feed: self.feed.clone(), want }),
                },
            }
        }
        Collected::Full
    }

    /// Goes through slots, all of which end at a seq, as far as `out` has room.
    fn take_due<'a>(
        &mut self,
        form: Form,
        (slots, through): (impl Iterator<Item = &'a Slot>, Seq),
        max: usize,
        out: &mut Vec<Due>,
    ) {
        for slot in slots {
            if out.len() >= max {
                return;
            }
            self.cursor = slot.seq();
            if self.view.admits(slot.event()) {
                let body = slot.form(form, self.encoding.verbosity);
                out.push(Due { event: slot.event().clone(), body });
            }
        }
        self.cursor = self.cursor.max(through);
    }
}
