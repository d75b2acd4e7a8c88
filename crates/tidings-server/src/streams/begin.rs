//! From an accepted request to a connection that is served.

use axum::{body::Body, response::Response};
use http::Extensions;
use hyper_util::rt::TokioIo;
use tidings_delivery::NewConnection;

use super::Desk;
use crate::{
    listener::{NativeSocket, Takeover},
    problem::{Kind, Problem},
};

/// Adds to the 101 `response` what makes its socket a WebSocket.
pub(super) fn web_socket(
    desk: &Desk,
    request: &mut Extensions,
    mut response: Response,
    new: NewConnection,
) -> Result<Response, Problem> {
    if request.get::<NativeSocket>().is_some() {
        response.extensions_mut().insert(Takeover::new(new));
        return Ok(response);
    }
    let Some(upgrade) = request.remove::<hyper::upgrade::OnUpgrade>() else {
        return Err(Problem::new(
            Kind::BadUpgrade,
            "The server in front of this one does not hand connections over.",
        ));
    };
    let delivery = desk.delivery.clone();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => delivery.serve(TokioIo::new(upgraded), new).await,
            Err(error) => tracing::debug!(%error, "a client went away before its WebSocket began"),
        }
    });
    Ok(response)
}

/// Gives the event-stream `response` its body.
pub(super) fn event_stream(
    desk: &Desk,
    request: &Extensions,
    mut response: Response,
    new: NewConnection,
) -> Response {
    if request.get::<NativeSocket>().is_some() {
        // Hyper writes the head and then waits for a body that a shard writes in its stead.
        *response.body_mut() =
            Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, axum::BoxError>>());
        response.extensions_mut().insert(Takeover::new(new));
    } else {
        *response.body_mut() = Body::from_stream(desk.delivery.sse_stream(new));
    }
    response
}

/// Whether the response's body is chunked by whoever serves the stream.
pub(super) fn chunks_itself(request: &Extensions, version: http::Version) -> bool {
    request.get::<NativeSocket>().is_some() && version >= http::Version::HTTP_11
}
