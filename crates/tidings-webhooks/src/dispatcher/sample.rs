//! The event by which somebody tries an endpoint.

use std::sync::Arc;

use serde_json::json;
use tidings_core::{
    Endpoint, Entropy, Event, EventBody, EventId, EventType, NewEvent, RawJson, Seq, Timestamp,
};

use super::route::Message;

/// As the endpoint would get an event of its tenant. Its seq is 0: it is in no log.
pub(super) fn message(endpoint: &Endpoint, now: Timestamp, entropy: &dyn Entropy) -> Message {
    let data = json!({ "endpoint_id": endpoint.id, "message": "This is a test." });
    let event = Event {
        seq: Seq::ZERO,
        time: now,
        tenant: endpoint.tenant.clone(),
        fact: NewEvent {
            id: EventId::generate(now, entropy),
            event_type: EventType::parse("webhook.test").expect("it is a dotted name"),
            job: None,
            owner: None,
            subject: None,
            body: EventBody::same_for_all(RawJson::from_value(&data)),
        },
    };
    Message::of_event(Arc::new(event), &endpoint.spec)
}
