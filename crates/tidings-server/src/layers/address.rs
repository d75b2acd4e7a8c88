use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode};
use tidings_delivery::ConnectionKind;

use crate::{app::App, listener::Unnamed, routes::events::wants_stream};

/// Layer: refuses streams of an address that has begun too many, before anything else is looked at. Where the application
/// that this one is mounted in does not say who the peer is, nothing is counted.
pub(super) async fn limit(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() else {
        return next.run(request).await;
    };
    let addresses = app.addresses();
    let client = match request.extensions().get::<Unnamed>() {
        Some(Unnamed) => peer.ip().to_canonical(),
        None => addresses.client(peer, request.headers()),
    };
    let Some(kind) = begins(&request) else { return next.run(request).await };
    match addresses.admit(client) {
        Ok(place) => drop(request.extensions_mut().insert(place)),
        Err(problem) => {
            app.streams().refused(kind, &problem);
            return problem.into_response();
        }
    }
    let response = next.run(request).await;
    // By a limit of its user, its tenant or its key. Such an answer is held back, so that nobody asks at will; where it is not, it costs.
    let is_held_back = app.settings().get().limits.refusal_delay.0.is_some();
    if is_held_back && response.status() == StatusCode::TOO_MANY_REQUESTS {
        addresses.begun_nothing(client);
    }
    response
}

/// Which kind of stream the request asks for, if any.
fn begins(request: &Request) -> Option<ConnectionKind> {
    match request.uri().path() {
        "/api/v1/ws" | "/api/v1/echo" => Some(ConnectionKind::WebSocket),
        "/api/v1/events" if request.method() == Method::GET && wants_stream(request.headers()) => {
            Some(ConnectionKind::Sse)
        }
        _ => None,
    }
}
