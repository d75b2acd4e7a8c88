use tidings_core::{Audience, Event, Filter, Seq, TenantId};
use tidings_store::{LogState, PageLimit, Store};

use crate::{problem::Problem, refusal};

use super::{PAGE_BYTES, place::expired};

/// Events that one request goes through to find what its filter lets pass.
const SCAN_MAX: usize = 20_000;

/// What a reader may and wants to see.
pub(super) struct Sieve {
    pub(super) filter: Filter,
    pub(super) audience: Audience,
}

impl Sieve {
    fn admits(&self, event: &Event) -> bool {
        self.audience.admits(&event.fact) && self.filter.matches(&event.fact)
    }
}

pub(super) struct Found {
    pub(super) events: Vec<Event>,
    /// Every event up to here was judged.
    pub(super) scanned_to: Seq,
    pub(super) log: LogState,
}

/// Up to `limit` events after `after`: it stops when it has them, at the head, or when it has looked at
/// enough of the log.
pub(super) async fn scan(
    store: &dyn Store,
    tenant: &TenantId,
    after: Seq,
    limit: usize,
    sieve: &Sieve,
) -> Result<Found, Problem> {
    let (mut events, mut bytes, mut scanned, mut at) = (Vec::new(), 0, 0, after);
    loop {
        let page_limit = PageLimit { events: 1_000, bytes: PAGE_BYTES };
        let page = store.events(tenant, at, page_limit).await.map_err(|e| refusal::of_read(&e))?;
        let page = page.ok_or_else(Problem::not_found)?;
        if page.log.oldest.prev() > at {
            // Retention has overtaken the reader: what was found before stands, what is lost is told next.
            return if events.is_empty() {
                Err(expired(&page.log))
            } else {
                Ok(Found { events, scanned_to: at, log: page.log })
            };
        }
        scanned += page.events.len();
        let mut full = false;
        for event in page.events {
            if sieve.admits(&event) {
                bytes += event.fact.body.len();
                full = !events.is_empty() && bytes > PAGE_BYTES;
                if full {
                    break;
                }
                at = event.seq;
                events.push(event);
                full = events.len() == limit;
                if full {
                    break;
                }
            } else {
                at = event.seq;
            }
        }
        if !full {
            at = at.max(page.scanned_to);
        }
        if full || at >= page.log.head || scanned >= SCAN_MAX {
            return Ok(Found { events, scanned_to: at, log: page.log });
        }
    }
}
