//! What is sent again, from its row. The row keeps the body as it was sent; what else there is to say of the event is in the
//! log, for as long as that is kept.

use std::sync::Arc;

use serde::Deserialize;
use tidings_core::{Endpoint, Event, EventId, webhook::Format};
use tidings_store::PageLimit;

use super::{Shared, route::Message};

/// The message as the endpoint wants it now: the same bytes where its format is what it was, else made anew from the log.
/// What the log has no more is sent as it was, and says what it is.
pub(super) async fn fitted(shared: &Shared, endpoint: &Endpoint, message: Message) -> Message {
    let wanted = endpoint.spec.format;
    if message.format == wanted && wanted != Format::CloudeventsBinary {
        return message;
    }
    match event(shared, endpoint, &message).await {
        Some(event) if message.format == wanted => Message { source: Some(event), ..message },
        Some(event) => Message::of_event(event, &endpoint.spec),
        None => message,
    }
}

async fn event(shared: &Shared, endpoint: &Endpoint, message: &Message) -> Option<Arc<Event>> {
    // A page has one event at least, however large.
    let limit = PageLimit { events: 1, bytes: 1 };
    let page = shared.store.events(&endpoint.tenant, message.seq.prev(), limit).await.ok()??;
    let event = page.events.into_iter().next()?;
    (event.seq == message.seq && event.fact.id == message.event).then(|| Arc::new(event))
}

/// Which format a body was made in. Both that wrap the data say the event's id, which data hardly does.
pub(super) fn format_of(body: &[u8], event: EventId) -> Format {
    #[derive(Deserialize)]
    struct Wrapping<'a> {
        #[serde(borrow)]
        id: &'a str,
        specversion: Option<&'a str>,
        seq: Option<u64>,
    }
    match serde_json::from_slice::<Wrapping<'_>>(body) {
        Ok(Wrapping { id, .. }) if id != event.to_string() => Format::CloudeventsBinary,
        Ok(Wrapping { specversion: Some(_), .. }) => Format::Cloudevents,
        Ok(Wrapping { seq: Some(_), .. }) => Format::Standard,
        _ => Format::CloudeventsBinary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_its_format() {
        let id = EventId::from_bytes([7; 16]);
        let of = |body: &str| format_of(body.replace("ID", &id.to_string()).as_bytes(), id);
        assert_eq!(of(r#"{"id":"ID","seq":1,"type":"a","data":{}}"#), Format::Standard);
        assert_eq!(of(r#"{"specversion":"1.0","id":"ID","sequence":"1"}"#), Format::Cloudevents);
        for data in ["", "null", "[1]", r#"{"id":"1","seq":1}"#, r#"{"id":"ID"}"#, r#"{"specversion":"1.0"}"#]
        {
            assert_eq!(of(data), Format::CloudeventsBinary, "{data}");
        }
    }
}
