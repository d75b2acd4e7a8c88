use serde_json::json;

use super::{DisabledReason, Endpoint};
use crate::{EndpointId, EventBody, EventId, EventType, NewEvent, RawJson, Seq, Timestamp};

/// What of a tenant's log an endpoint will never get: it expired before it was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub endpoint: EndpointId,
    pub from: Seq,
    pub to: Seq,
}

/// `webhook.disabled`: Tidings stopped delivering to an endpoint.
pub fn disabled_event(
    endpoint: EndpointId,
    reason: DisabledReason,
    failing_since: Option<Timestamp>,
    id: EventId,
) -> NewEvent {
    let mut data = json!({ "endpoint_id": endpoint, "reason": reason.as_str() });
    if let Some(since) = failing_since {
        data["failing_since"] = json!(since);
    }
    event(EventType::WEBHOOK_DISABLED, &data, id)
}

/// `webhook.gap`: the range was lost.
pub fn gap_event(gap: Gap, id: EventId) -> NewEvent {
    let Gap { endpoint, from, to } = gap;
    event(EventType::WEBHOOK_GAP, &json!({ "endpoint_id": endpoint, "from": from, "to": to }), id)
}

fn event(event_type: EventType, data: &serde_json::Value, id: EventId) -> NewEvent {
    NewEvent {
        id,
        event_type,
        job: None,
        owner: None,
        subject: None,
        body: EventBody::same_for_all(RawJson::from_value(data)),
    }
}

impl Endpoint {
    /// The range that it loses where the log begins at `oldest` from now on.
    pub fn gap_before(&self, oldest: Seq) -> Option<Gap> {
        let from = self.cursor.next();
        (from < oldest).then(|| Gap { endpoint: self.id, from, to: oldest.prev() })
    }
}
