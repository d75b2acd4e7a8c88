//! What goes over a bus: some of one tenant's events, or only how far its log has come.
//!
//! ```text
//! version:u8 = 1  node:[u8;16]  tenant:str8  epoch:str8  head:u64  events:u16  event…
//! event: seq:u64  time:i64  id:[u8;16]  type:str8  parts:u8
//!        [job:[u8;16] job_type:str8] [owner:str8] [subject:str8]  minimal:str32 [detail:str32] [debug:str32]
//! ```
//!
//! Numbers are big-endian, `strN` is a length of N bits and that many bytes, and `parts` says which of what
//! is in brackets is there. It is read as what a stranger may have sent: everything is checked, nothing is
//! allocated that did not come.

mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;

/// Names the process that published a message.
pub(super) type NodeId = [u8; 16];

const VERSION: u8 = 1;
const JOB: u8 = 1;
const OWNER: u8 = 2;
const SUBJECT: u8 = 4;
const DETAIL: u8 = 8;
const DEBUG: u8 = 16;

/// Bytes up to which events go into one message; a larger event has one to itself.
const MESSAGE_BYTES: usize = 64 << 10;
/// Bytes of the largest message; of a larger event only the head is told.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const EVENTS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tidings_core::{
        Epoch, Event, EventBody, EventId, EventType, JobId, JobRef, JobType, NewEvent, RawJson, Seq, Subject,
        TenantId, Timestamp, UserId,
    };

    use super::{read::Malformed, write::Message, *};
    use crate::News;

    const NODE: NodeId = [7; 16];

    fn tenant() -> TenantId {
        TenantId::new("acme").expect("valid")
    }

    fn epoch() -> Epoch {
        Epoch::parse("abcd2345").expect("valid")
    }

    fn event(seq: u64, parts: u8, size: usize) -> Arc<Event> {
        let has = |part: u8| parts & part != 0;
        let text = |n: usize| RawJson::from_value(&"x".repeat(n));
        Arc::new(Event {
            seq: Seq::new(seq),
            time: Timestamp::from_micros(1_700_000_000_000_000 + seq as i64),
            tenant: tenant(),
            fact: NewEvent {
                id: EventId::from_bytes([seq as u8; 16]),
                event_type: if has(JOB) {
                    EventType::JOB_PROGRESS
                } else {
                    EventType::parse("a.b").expect("valid")
                },
                job: has(JOB).then(|| JobRef {
                    id: JobId::from_bytes([9; 16]),
                    job_type: JobType::new("embedding").expect("valid"),
                }),
                owner: has(OWNER).then(|| UserId::new("user-7").expect("valid")),
                subject: has(SUBJECT).then(|| Subject::new("note/\"42\"").expect("valid")),
                body: EventBody {
                    minimal: text(size),
                    detail: has(DETAIL).then(|| text(size + 1)),
                    debug: has(DEBUG).then(|| text(3)),
                },
            },
        })
    }

    fn all(messages: &[Message]) -> Vec<Arc<Event>> {
        let events =
            messages.iter().flat_map(|m| read(&m.payload).expect("reads").expect("a stranger's").1.events);
        events.collect()
    }

    fn read_as_other(payload: &[u8]) -> Result<News, Malformed> {
        read(payload).map(|found| found.expect("this version").1)
    }

    #[test]
    fn every_part_comes_back() {
        let events: Vec<_> = (0..32).map(|parts| event(u64::from(parts) + 5, parts, 40)).collect();
        let messages = write(&NODE, &tenant(), &epoch(), &events);
        assert_eq!(messages.len(), 1);
        let (node, news) = read(&messages[0].payload).expect("reads").expect("this version");
        assert_eq!((node, news.tenant, news.epoch, news.head.get()), (NODE, tenant(), epoch(), 36));
        assert_eq!(news.events, events);
    }

    #[test]
    fn much_is_split_and_too_much_is_only_told_of() {
        let events: Vec<_> = (1..=300).map(|seq| event(seq, DETAIL, 1_000)).collect();
        let messages = write(&NODE, &tenant(), &epoch(), &events);
        assert!(messages.len() > 5 && messages.iter().all(|m| m.payload.len() <= MESSAGE_BYTES));
        assert_eq!(all(&messages), events);
        assert_eq!(messages.iter().map(|m| m.events).sum::<u64>(), 300);
        let events = [event(1, 0, 10), event(2, 0, MESSAGE_BYTES_MAX), event(3, 0, 70_000), event(4, 0, 10)];
        let messages = write(&NODE, &tenant(), &epoch(), &events);
        assert_eq!(all(&messages).iter().map(|e| e.seq.get()).collect::<Vec<_>>(), [1, 3, 4]);
        assert!(messages.iter().all(|m| read_as_other(&m.payload).expect("reads").head.get() == 4));
        let alone = write(&NODE, &tenant(), &epoch(), &events[1..2]);
        assert_eq!((alone.len(), all(&alone).len()), (1, 0), "the head alone");
    }

    #[test]
    fn another_version_is_left_to_those_who_know_it() {
        let mut payload = write(&NODE, &tenant(), &epoch(), &[event(1, 0, 1)]).remove(0).payload;
        payload[0] = 2;
        assert_eq!(read(&payload), Ok(None));
    }

    #[test]
    fn what_no_node_would_send_does_not_read() {
        let whole = write(&NODE, &tenant(), &epoch(), &[event(5, 31, 9), event(6, 0, 9)]).remove(0).payload;
        for len in 1..whole.len() {
            assert_eq!(read(&whole[..len]), Err(Malformed), "cut at {len}");
        }
        assert_eq!(read(&[]), Err(Malformed));
        assert_eq!(read(&[&whole[..], b"x"].concat()), Err(Malformed), "more than was said");
        let mut unordered =
            write(&NODE, &tenant(), &epoch(), &[event(6, 0, 9), event(5, 0, 9)]).remove(0).payload;
        assert_eq!(read(&unordered), Err(Malformed));
        let at = unordered.iter().rposition(|b| *b == b'"').expect("a text");
        unordered[at] = b'\n';
        assert_eq!(read(&unordered), Err(Malformed), "not JSON");
        assert_eq!(read(&vec![1; MESSAGE_BYTES_MAX + 1]), Err(Malformed));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn anything_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_changed_byte_never_makes_what_could_not_be_sent(at in any::<usize>(), byte in any::<u8>(), parts in 0..32_u8) {
            let mut payload = write(&NODE, &tenant(), &epoch(), &[event(5, parts, 20), event(7, 0, 5)]).remove(0).payload;
            let at = at % payload.len();
            payload[at] = byte;
            if let Ok(Some((node, news))) = read(&payload) {
                let again = write(&node, &news.tenant, &news.epoch, &news.events);
                if let Some(first) = again.first().filter(|_| !news.events.is_empty() && news.events.last().map(|e| e.seq) == Some(news.head)) {
                    let (_, same) = read(&first.payload).expect("reads").expect("this version");
                    prop_assert_eq!(same, news);
                }
            }
        }
    }
}
