//! `/api/v1/events`: publishing, the replay page, and by `Accept` the SSE stream.

mod cloud_events;
mod place;
pub(crate) mod publish;
pub(crate) mod replay;
mod scan;

use axum::{
    body::Body,
    extract::{FromRequestParts as _, Request, State},
    handler::Handler,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, header};
use tidings_core::{Cursor, Event, Verbosity};
use tidings_store::LogState;

use crate::{
    access::StreamAccess,
    app::App,
    body,
    problem::{Kind, Problem},
    streams,
};

pub(crate) use place::place;
pub(crate) use publish::publish;
use replay::replay;

/// Bytes of events that one page goes up to; it has at least one event.
pub(crate) const PAGE_BYTES: usize = 1 << 20;

/// `GET /api/v1/events`: a stream or a page, as `Accept` says.
pub(crate) async fn read(State(app): State<App>, request: Request<Body>) -> Response {
    match wanted(request.headers()) {
        Some(Form::Stream) => Handler::call(streams::sse, request, app).await,
        Some(Form::Page) => Handler::call(replay, request, app).await,
        None => {
            // Whoever has no credential learns only that.
            let (mut parts, _) = request.into_parts();
            let access = StreamAccess::from_request_parts(&mut parts, &app).await;
            let neither = || {
                Problem::new(
                    Kind::NotAcceptable,
                    "Accept application/json for a page or text/event-stream for a stream.",
                )
            };
            access.map_or_else(Problem::into_response, |_| neither().into_response())
        }
    }
}

/// Whether `GET` with these headers asks for a stream.
pub(crate) fn wants_stream(headers: &HeaderMap) -> bool {
    wanted(headers) == Some(Form::Stream)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Stream,
    Page,
}

/// The first of the two that `Accept` names; JSON where it takes anything.
fn wanted(headers: &HeaderMap) -> Option<Form> {
    let mut accepts = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).peekable();
    if accepts.peek().is_none() {
        return Some(Form::Page);
    }
    accepts.flat_map(|v| v.split(',')).find_map(|range| {
        let (essence, parameters) = range.split_once(';').unwrap_or((range, ""));
        if is_refused(parameters) {
            return None;
        }
        let essence = essence.trim();
        match essence.to_ascii_lowercase().as_str() {
            "text/event-stream" | "text/*" => Some(Form::Stream),
            "application/json" | "application/*" | "*/*" => Some(Form::Page),
            _ => None,
        }
    })
}

/// Whether a media range's weight is zero: "not this".
fn is_refused(parameters: &str) -> bool {
    parameters.split(';').filter_map(|p| p.trim().split_once('=')).any(|(name, weight)| {
        name.trim().eq_ignore_ascii_case("q")
            && weight.trim().parse::<f32>().is_ok_and(|weight| weight == 0.0)
    })
}

/// A page of the very bytes that the streams carry.
pub(crate) fn replay_text<'a>(
    events: impl Iterator<Item = &'a Event>,
    verbosity: Verbosity,
    next: &Cursor,
    log: &LogState,
) -> Response {
    let mut text = Vec::with_capacity(4_096);
    text.extend_from_slice(b"{\"events\":[");
    for (i, event) in events.enumerate() {
        if i > 0 {
            text.push(b',');
        }
        event.write_envelope(verbosity, &mut text);
    }
    let tail = format!("],\"next\":\"{next}\",\"head\":{},\"oldest\":{}}}", log.head, log.oldest);
    text.extend_from_slice(tail.as_bytes());
    body::raw(StatusCode::OK, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_decides_between_page_and_stream() {
        let accept =
            |text: &str| wanted(&[(header::ACCEPT, text.parse().expect("a value"))].into_iter().collect());
        assert_eq!(wanted(&HeaderMap::new()), Some(Form::Page));
        assert_eq!(accept("text/event-stream"), Some(Form::Stream));
        assert_eq!(accept("text/event-stream, */*"), Some(Form::Stream));
        assert_eq!(accept("application/json;q=1, text/event-stream"), Some(Form::Page));
        assert_eq!(accept("*/*"), Some(Form::Page));
        assert_eq!(accept("image/png"), None);
    }
}
