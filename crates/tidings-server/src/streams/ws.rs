use axum::{
    extract::{Request, State},
    response::Response,
};
use tidings_delivery::{ConnectionKind, Protocol};

use super::{Desk, asking::Asking, begin, upgrade};
use crate::problem::Problem;

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
    State(desk): State<Desk>,
    asking: Result<Asking, Problem>,
    request: Request,
) -> Result<Response, Problem> {
    let begun = open(&desk, asking, request).await;
    begun.inspect_err(|problem| desk.refused(ConnectionKind::WebSocket, problem))
}

async fn open(desk: &Desk, asking: Result<Asking, Problem>, request: Request) -> Result<Response, Problem> {
    let asking = asking?;
    let (mut parts, _) = request.into_parts();
    let response = upgrade::accept(&parts)?;
    let new = asking.read(None)?.connect(desk, Protocol::WebSocket).await?;
    begin::web_socket(desk, &mut parts.extensions, response, new)
}
