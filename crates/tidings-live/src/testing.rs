//! What this crate's tests share.

mod store;
mod wire;

use std::sync::{Arc, OnceLock};

use tidings_core::{
    Epoch, Event, EventBody, EventId, EventType, NewEvent, RawJson, Seq, TenantId, Timestamp, UserId,
    Verbosity,
};

use crate::{FeedId, LiveConfig, Local, Slot, feed::Feed, node::Node};

pub(crate) use store::MemoryStore;
pub(crate) use wire::{Wire, WireBus};

pub(crate) fn tenant() -> TenantId {
    TenantId::new("acme").expect("valid")
}

/// An event of no size worth mentioning.
pub(crate) fn event(seq: u64) -> Event {
    event_of("note.created", None, seq, RawJson::null())
}

pub(crate) fn event_of(event_type: &str, owner: Option<&str>, seq: u64, data: RawJson) -> Event {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&seq.to_be_bytes());
    Event {
        seq: Seq::new(seq),
        time: Timestamp::from_micros(seq as i64),
        tenant: tenant(),
        fact: NewEvent {
            id: EventId::from_bytes(id),
            event_type: EventType::parse(event_type).expect("valid"),
            job: None,
            owner: owner.map(|o| UserId::new(o).expect("valid")),
            subject: None,
            body: EventBody::same_for_all(data),
        },
    }
}

/// An event whose envelope has exactly `size` bytes.
pub(crate) fn event_of_size(seq: u64, size: usize) -> Event {
    let with = |len: usize| {
        let data = RawJson::from_value(&"x".repeat(len));
        event_of("note.created", None, seq, data)
    };
    let least = with(0).envelope(Verbosity::Minimal).len();
    with(size.checked_sub(least).expect("an envelope has a least size"))
}

pub(crate) fn slot(event: Event) -> Arc<Slot> {
    Arc::new(Slot::new(Epoch::parse("e1").expect("valid"), Arc::new(event), Arc::default()))
}

/// A feed that no hub knows.
pub(crate) fn detached_feed(id: u64) -> Arc<Feed> {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts")
    });
    let node = Node::new(
        Arc::new(MemoryStore::default()),
        LiveConfig::default(),
        Local::shared(),
        runtime.handle().clone(),
    );
    Feed::new(FeedId(id), tenant(), node)
}
