use axum::{
    extract::{Request, State},
    response::Response,
};
use tidings_delivery::{ConnectionKind, NewConnection, Protocol, Stream};
use tidings_live::Hub;
use tidings_store::Journal;

use super::{Desk, admission::Asked, begin, request, upgrade};
use crate::{access::StreamAccess, params::Params, problem::Problem};

/// Open a WebSocket stream of events.
#[utoipa::path(
    get, path = "/api/v1/ws", tag = "events", operation_id = "open_websocket",
    params(
        ("since" = Option<String>, Query, description = "A cursor. Absent: from now"),
        ("types" = Option<String>, Query, description = "Patterns such as `job.*`, joined by commas"),
        ("job_id" = Option<String>, Query), ("job_type" = Option<String>, Query),
        ("subject" = Option<String>, Query, description = "Patterns such as `note/*`"),
        ("owner" = Option<String>, Query, description = "Users, or `me`"),
        ("verbosity" = Option<String>, Query, description = "minimal, detail or debug"),
        ("ticket" = Option<String>, Query, description = "A connection ticket instead of the Authorization header"),
    ),
    responses(
        (status = 101, description = "The stream begins: see the wire protocol"),
    ),
)]
pub(crate) async fn ws(
    asked: Asked,
    access: Result<StreamAccess, Problem>,
    State(desk): State<Desk>,
    State(hub): State<Hub>,
    State(journal): State<Journal>,
    params: Result<Params, Problem>,
    request: Request,
) -> Result<Response, Problem> {
    let begun = open(asked, access, &desk, &hub, &journal, params, request).await;
    begun.inspect_err(|problem| desk.refused(ConnectionKind::WebSocket, problem))
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
    let (mut parts, _) = request.into_parts();
    let response = upgrade::accept(&parts)?;
    let spec = request::read(&access, params?, None)?;
    let place = desk.admit()?;
    let feed = access.feed(hub, journal).await?;
    let new = NewConnection {
        id: desk.new_id(),
        principal: access.principal.clone(),
        judged_at: asked.0,
        protocol: Protocol::WebSocket(Stream { feed, spec }),
        received: bytes::Bytes::new(),
        slot: Box::new(place),
    };
    begin::web_socket(desk, &mut parts.extensions, response, new)
}
