use http::HeaderMap;
use tidings_core::Cursor;
use tidings_live::{Encoding, Start, SubscriptionSpec, Transport};

use crate::{
    access::{Access, forbidden, may},
    params::{Params, parse_cursor},
    problem::{Kind, Problem},
};

/// Reads what a stream is asked for; every parameter must be known. `resume` wins over `since`.
pub(super) fn read(
    access: &Access<may::ReadEvents>,
    mut params: Params,
    resume: Option<Cursor>,
) -> Result<SubscriptionSpec, Problem> {
    let principal = &access.principal;
    // It was redeemed for the principal.
    params.take_text("ticket")?;
    let since = params.take_cursor("since")?;
    let verbosity = params.take_verbosity(principal, access.development())?;
    let filter = params.take_filter(principal.user())?;
    params.finish()?;
    if filter.owners().any(|owner| !principal.may_act_for(Some(owner))) {
        return Err(forbidden("Your credential stands for a user and may name only that user as owner."));
    }
    Ok(SubscriptionSpec {
        filter,
        audience: principal.audience(),
        // The delivery sets the transport by the protocol.
        encoding: Encoding { transport: Transport::WebSocket, verbosity },
        start: resume.or(since).map_or(Start::Now, Start::After),
    })
}

/// Where an `EventSource` was when it lost its connection. Empty is what a browser sends that has had no id.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<Cursor>, Problem> {
    let mut values = headers.get_all("last-event-id").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::new(Kind::BadParameter, "The header Last-Event-ID is given more than once."));
    }
    match value.to_str() {
        Ok("") => Ok(None),
        Ok(text) => parse_cursor(text).map(Some),
        Err(_) => parse_cursor("?").map(Some),
    }
}
