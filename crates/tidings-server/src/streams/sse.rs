use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderValue, Method, header};
use tidings_delivery::{ConnectionKind, Protocol};

use super::{Desk, asking::Asking, begin, request};
use crate::problem::Problem;

/// `GET /api/v1/events` with `Accept: text/event-stream`.
pub(crate) async fn sse(
    State(desk): State<Desk>,
    asking: Result<Asking, Problem>,
    request: Request,
) -> Result<Response, Problem> {
    let begun = open(&desk, asking, request).await;
    begun.inspect_err(|problem| desk.refused(ConnectionKind::Sse, problem))
}

async fn open(desk: &Desk, asking: Result<Asking, Problem>, request: Request) -> Result<Response, Problem> {
    let asking = asking?;
    let (parts, _) = request.into_parts();
    let wanted = asking.read(request::last_event_id(&parts.headers)?)?;
    let response = head();
    if parts.method == Method::HEAD {
        return Ok(response);
    }
    let chunked = begin::chunks_itself(&parts.extensions, parts.version);
    let protocol = if chunked { Protocol::ChunkedSse } else { Protocol::Sse };
    let new = wanted.connect(desk, protocol).await?;
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
