use axum::{
    extract::{Request, State},
    response::Response,
};
use tidings_delivery::{NewConnection, Protocol};

use super::{
    Desk,
    admission::{Asked, Room},
    begin, upgrade,
};
use crate::{access::StreamAccess, addresses::AddressPlace, problem::Problem};

/// A WebSocket that sends back what it gets, on the stack that the streams use. Routed only where
/// `server.debug_echo` says so.
pub(crate) async fn echo(
    asked: Asked,
    _: Room,
    access: StreamAccess,
    State(desk): State<Desk>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let response = upgrade::accept(&parts)?;
    let new = NewConnection {
        id: desk.new_id(),
        principal: access.principal.clone(),
        judged_at: asked.0,
        protocol: Protocol::Echo,
        received: bytes::Bytes::new(),
        slot: Box::new((desk.admit()?, parts.extensions.remove::<AddressPlace>())),
    };
    begin::web_socket(&desk, &mut parts.extensions, response, new)
}
