//! `/api/v1/tenants`: the operator's.

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_core::{Epoch, Seq, TenantId, Timestamp};
use tidings_store::{TenantRecord, TenantState};

use crate::{
    access::OperatorAccess,
    body::{self, Json},
    params::Params,
    path::Id,
    problem::{Kind, Problem},
    tenants::TenantAdmin,
};

/// A tenant to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TenantRequest)]
pub(crate) struct CreateRequest {
    /// `[a-z0-9][a-z0-9._-]{0,62}`
    #[schema(value_type = String)]
    id: TenantId,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantView {
    #[schema(value_type = String)]
    id: TenantId,
    /// active or suspended
    state: &'static str,
    /// The name of its history.
    #[schema(value_type = String)]
    epoch: Epoch,
    #[schema(value_type = u64)]
    head: Seq,
    #[schema(value_type = u64)]
    oldest: Seq,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TenantPage {
    tenants: Vec<TenantView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Make a tenant; one that is there is returned as it is.
#[utoipa::path(
    post, path = "/api/v1/tenants", tag = "tenants",
    request_body = CreateRequest,
    responses(
        (status = 201, description = "Made", body = TenantView),
        (status = 200, description = "It was there", body = TenantView),
    ),
)]
pub(crate) async fn create(
    _: OperatorAccess,
    State(admin): State<TenantAdmin>,
    Json(request): Json<CreateRequest>,
) -> Result<Response, Problem> {
    let (record, new) = admin.create(&request.id).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(body::json(status, &TenantView::from(record)))
}

/// List tenants by id.
#[utoipa::path(
    get, path = "/api/v1/tenants", tag = "tenants",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "100 where absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "A page", body = TenantPage)),
)]
pub(crate) async fn list(
    _: OperatorAccess,
    State(admin): State<TenantAdmin>,
    mut params: Params,
) -> Result<Response, Problem> {
    let limit = params.take_number("limit", 1..=1_000)?.unwrap_or(100) as usize;
    let bad = |_| Problem::new(Kind::BadCursor, "The cursor is not `next` of another page of tenants.");
    let after: Option<TenantId> =
        params.take_text("cursor")?.map(|text| text.parse().map_err(bad)).transpose()?;
    params.finish()?;
    let page = admin.list(after.as_ref(), limit).await?;
    let next = page.last().filter(|_| page.len() == limit).map(|last| last.id.to_string());
    let tenants = page.into_iter().map(TenantView::from).collect();
    Ok(body::json(StatusCode::OK, &TenantPage { tenants, next }))
}

/// Show a tenant.
#[utoipa::path(
    get, path = "/api/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, description = "The tenant", body = TenantView)),
)]
pub(crate) async fn show(
    _: OperatorAccess,
    Id(id): Id<TenantId>,
    State(admin): State<TenantAdmin>,
) -> Result<Response, Problem> {
    Ok(body::json(StatusCode::OK, &TenantView::from(admin.existing(&id).await?)))
}

/// Suspend a tenant: reads and writes are refused and its live connections end; nothing is deleted.
#[utoipa::path(
    post, path = "/api/v1/tenants/{id}/suspend", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, description = "Suspended", body = TenantView)),
)]
pub(crate) async fn suspend(
    _: OperatorAccess,
    Id(id): Id<TenantId>,
    State(admin): State<TenantAdmin>,
) -> Result<Response, Problem> {
    Ok(body::json(StatusCode::OK, &TenantView::from(admin.suspend(&id).await?)))
}

/// Let a suspended tenant go on.
#[utoipa::path(
    post, path = "/api/v1/tenants/{id}/resume", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, description = "Active", body = TenantView)),
)]
pub(crate) async fn resume(
    _: OperatorAccess,
    Id(id): Id<TenantId>,
    State(admin): State<TenantAdmin>,
) -> Result<Response, Problem> {
    Ok(body::json(StatusCode::OK, &TenantView::from(admin.resume(&id).await?)))
}

/// Delete a tenant with its events, jobs and keys, for good.
#[utoipa::path(
    delete, path = "/api/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    responses((status = 204, description = "Deleted")),
)]
pub(crate) async fn delete(
    _: OperatorAccess,
    Id(id): Id<TenantId>,
    State(admin): State<TenantAdmin>,
) -> Result<StatusCode, Problem> {
    admin.delete(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a tenant's history a new name, so that cursors into the old one are answered by a reset.
#[utoipa::path(
    post, path = "/api/v1/tenants/{id}/renew-epoch", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, description = "Renewed", body = TenantView)),
)]
pub(crate) async fn renew_epoch(
    _: OperatorAccess,
    Id(id): Id<TenantId>,
    State(admin): State<TenantAdmin>,
) -> Result<Response, Problem> {
    Ok(body::json(StatusCode::OK, &TenantView::from(admin.renew_epoch(&id).await?)))
}

impl From<TenantRecord> for TenantView {
    fn from(record: TenantRecord) -> Self {
        let state = match record.state {
            TenantState::Active => "active",
            TenantState::Suspended => "suspended",
        };
        let TenantRecord { id, log, created_at, .. } = record;
        Self { id, state, epoch: log.epoch, head: log.head, oldest: log.oldest, created_at }
    }
}
