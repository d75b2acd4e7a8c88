use tidings_core::{Audience, Cursor, Event, Filter, Seq, TenantId};
use tidings_store::{LogState, PageLimit, Store};

use crate::{problem::Problem, refusal};

use super::{
    PAGE_BYTES,
    place::{expired, place},
};

/// Events that one request goes through to find what its filter lets pass.
const SCAN_MAX: usize = 20_000;
/// Events that are looked at together, once it is seen that a filter leaves some out.
const LOOK: usize = 1_000;

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

impl Found {
    /// Where to go on.
    pub(super) fn next(&self) -> Cursor {
        Cursor::new(self.log.epoch.clone(), self.scanned_to)
    }
}

/// Up to `limit` events after `since`: it stops when it has them, at the head, or when it has looked at
/// enough of the log.
pub(super) async fn scan(
    store: &dyn Store,
    tenant: &TenantId,
    since: Option<&Cursor>,
    limit: usize,
    sieve: &Sieve,
) -> Result<Found, Problem> {
    let (mut events, mut bytes, mut scanned) = (Vec::new(), 0, 0);
    let mut reached = None;
    loop {
        // Mostly all pass, and nothing is read for nobody.
        let look = if scanned == 0 { limit } else { LOOK };
        let start = reached.unwrap_or_else(|| since.map_or(Seq::ZERO, |cursor| cursor.seq));
        let page = store.events(tenant, start, PageLimit { events: look, bytes: PAGE_BYTES }).await;
        let page = page.map_err(|e| refusal::of_read(&e))?.ok_or_else(Problem::not_found)?;
        let mut at = match reached {
            None => place(since, &page.log)?,
            Some(at) => at,
        };
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
        reached = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use parking_lot::Mutex;
    use tidings_core::{Epoch, EventBody, EventId, EventType, NewEvent, RawJson, Timestamp};
    use tidings_store::{EventPage, ReadError, stand_in::StandIn};

    use super::*;

    /// Every tenth event is a `rare.made`, the others are `tick.made`.
    #[derive(Default)]
    struct LongLog {
        asked: Mutex<Vec<(u64, usize)>>,
    }

    const HEAD: u64 = 5_000;

    #[async_trait]
    impl StandIn for LongLog {
        async fn events(
            &self,
            tenant: &TenantId,
            after: Seq,
            limit: PageLimit,
        ) -> Result<Option<EventPage>, ReadError> {
            self.asked.lock().push((after.get(), limit.events));
            let last = HEAD.min(after.get() + limit.events as u64);
            let log = LogState {
                epoch: Epoch::parse("abc").expect("valid"),
                head: Seq::new(HEAD),
                oldest: Seq::new(1),
            };
            let events = (after.get() + 1..=last).map(|seq| event(tenant, seq)).collect();
            Ok(Some(EventPage { events, scanned_to: Seq::new(last), log }))
        }
    }

    fn event(tenant: &TenantId, seq: u64) -> Event {
        let event_type = if seq.is_multiple_of(10) { "rare.made" } else { "tick.made" };
        Event {
            seq: Seq::new(seq),
            time: Timestamp::from_micros(0),
            tenant: tenant.clone(),
            fact: NewEvent {
                id: EventId::from_bytes([0; 16]),
                event_type: EventType::parse(event_type).expect("valid"),
                job: None,
                owner: None,
                subject: None,
                body: EventBody::same_for_all(RawJson::null()),
            },
        }
    }

    /// What was asked of the log, and what was found.
    async fn look(since: &str, limit: usize, types: &[(&str, &str)]) -> (Vec<(u64, usize)>, Vec<u64>) {
        let (log, tenant) = (LongLog::default(), TenantId::new("acme").expect("valid"));
        let filter = Filter::from_pairs(types.iter().copied(), None).expect("valid");
        let (since, sieve) =
            (since.parse().expect("valid"), Sieve { filter, audience: Audience::unlimited() });
        let found = scan(&log, &tenant, Some(&since), limit, &sieve).await.expect("it has a place");
        (log.asked.into_inner(), found.events.iter().map(|event| event.seq.get()).collect())
    }

    #[tokio::test]
    async fn no_more_is_read_than_is_asked_for_but_where_a_filter_leaves_much_out() {
        assert_eq!(look("0", 2, &[]).await, (vec![(0, 2)], vec![1, 2]));
        assert_eq!(look("4998", 1_000, &[]).await, (vec![(4_998, 1_000)], vec![4_999, 5_000]));
        assert_eq!(look("7", 2, &[("types", "rare.*")]).await, (vec![(7, 2), (9, 1_000)], vec![10, 20]));
    }
}
