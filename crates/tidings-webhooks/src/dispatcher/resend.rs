//! What is sent again, from its row. The row keeps the body as it was sent, and in which format; what else there is to say of the event is in the
//! log, for as long as that is kept.

use std::sync::Arc;

use tidings_core::{Endpoint, Event, webhook::Format};
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
