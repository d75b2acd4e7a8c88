use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderValue, Method, header};
use tidings_delivery::{ConnectionKind, NewConnection, Protocol, Stream};
use tidings_live::Hub;
use tidings_store::Journal;

use super::{Desk, admission::Asked, begin, request};
use crate::{access::StreamAccess, params::Params, problem::Problem};

/// `GET /api/v1/events` with `Accept: text/event-stream`.
pub(crate) async fn sse(
    asked: Asked,
    access: Result<StreamAccess, Problem>,
    State(desk): State<Desk>,
    State(hub): State<Hub>,
    State(journal): State<Journal>,
    params: Result<Params, Problem>,
    request: Request,
) -> Result<Response, Problem> {
    let begun = open(asked, access, &desk, &hub, &journal, params, request).await;
    begun.inspect_err(|problem| desk.refused(ConnectionKind::Sse, problem))
}

async fn open(
    asked: Asked,
    access: Result<StreamAccess, Problem>,
    desk: &Desk,
    hub: &Hub,
    journal: &Journal,
    params: Result<Params, Problem>,
    request: Request,
) -> Result<Response, Problem> {
    let access = access?;
    let (parts, _) = request.into_parts();
    let resume = request::last_event_id(&parts.headers)?;
    let spec = request::read(&access, params?, resume)?;
    let response = head();
    if parts.method == Method::HEAD {
        return Ok(response);
    }
    let place = desk.admit()?;
    let feed = access.feed(hub, journal).await?;
    let stream = Stream { feed, spec };
    let chunked = begin::chunks_itself(&parts.extensions, parts.version);
    let new = NewConnection {
        id: desk.new_id(),
        principal: access.principal.clone(),
        judged_at: asked.0,
        protocol: if chunked { Protocol::ChunkedSse(stream) } else { Protocol::Sse(stream) },
        received: bytes::Bytes::new(),
        slot: Box::new(place),
    };
    Ok(begin::event_stream(desk, &parts.extensions, response, new))
}

fn head() -> Response {
    let mut response = Response::new(Body::empty());
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer would hold events back.
    fields.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
