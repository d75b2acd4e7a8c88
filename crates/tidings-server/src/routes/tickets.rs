//! `/api/v1/tickets`.

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_auth::{Authenticator, MintError, TicketRequest};
use tidings_store::{Journal, Operation};

use crate::{
    access::{Access, forbidden, may},
    body::{self, OptionalJson, invalid},
    drain::Drain,
    problem::Problem,
    routes::submit,
    streams,
};

/// Mint a connection ticket: used once, within 30 s, as `?ticket=`.
#[utoipa::path(
    post, path = "/api/v1/tickets", tag = "streams",
    request_body = crate::openapi::TicketRequest,
    responses((status = 201, description = "The ticket", body = crate::openapi::Ticket)),
)]
pub(crate) async fn mint(
    access: Access<may::ReadEvents>,
    State(authenticator): State<Authenticator>,
    State(desk): State<streams::Desk>,
    State(journal): State<Journal>,
    State(drain): State<Drain>,
    OptionalJson(request): OptionalJson<TicketRequest>,
) -> Result<Response, Problem> {
    drain.refuse()?;
    let request = in_tenant(&access, request)?;
    let user = request.user.as_ref().or_else(|| access.principal.user());
    desk.look(&access.tenant, user).await?;
    let ticket = authenticator.mint_ticket(&access.principal, request).map_err(|e| refused(&e))?;
    if access.may_create {
        submit(&journal, access.command(Operation::Ensure)?).await?;
    }
    Ok(body::json(StatusCode::CREATED, &ticket))
}

/// The ticket is for the tenant that the request acts in, and may say so.
fn in_tenant(access: &Access<may::ReadEvents>, mut request: TicketRequest) -> Result<TicketRequest, Problem> {
    match &request.tenant {
        Some(named) if *named != access.tenant => {
            Err(forbidden("The ticket's tenant is another than the one this request acts in."))
        }
        _ => {
            request.tenant = Some(access.tenant.clone());
            Ok(request)
        }
    }
}

fn refused(error: &MintError) -> Problem {
    match error {
        MintError::Grant(error) => forbidden(crate::routes::keys::sentence(error)),
        other => invalid("$", other),
    }
}
