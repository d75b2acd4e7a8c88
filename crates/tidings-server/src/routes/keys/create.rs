use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;
use tidings_auth::{Authenticator, ExposeSecret as _, KeyRequest};
use tidings_core::{Grant, Pattern, Scope, ScopeSet, TenantId, Tenants, UserId};
use tidings_store::{Command, Journal, Operation};

use crate::{
    access::{KeyAccess, forbidden},
    body::{self, Json, invalid},
    config::Span,
    ids::Ids,
    problem::{Kind, Problem},
    routes::submit,
};

use super::{sentence, view::KeyView};

/// An API key to be made. It carries at most what its maker's credential does.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyRequest)]
pub(crate) struct CreateRequest {
    /// What people know it by; 1 to 255 bytes.
    #[schema(max_length = 255)]
    name: String,
    /// A list, or one text with spaces.
    #[schema(value_type = Vec<String>)]
    scopes: ScopeSet,
    /// Whom it stands for.
    #[schema(value_type = Option<String>)]
    user: Option<UserId>,
    /// Patterns such as `note/*` that narrow what it may see and publish.
    #[schema(value_type = Option<Vec<String>>)]
    subjects: Option<Arc<[Pattern]>>,
    /// An operator's to give, for keys of no single tenant: a list of tenants, or `"all"`.
    #[schema(value_type = Option<crate::openapi::Reach>)]
    tenants: Option<Reach>,
    /// A duration such as `90d`; it never ends where absent.
    #[schema(value_type = Option<String>)]
    expires_in: Option<Span>,
}

/// `"all"`, or a list of tenants.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "tenants is a list of tenant ids or \"all\"")]
pub(crate) enum Reach {
    All(All),
    Set(Vec<TenantId>),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum All {
    All,
}

const TENANTS_MAX: usize = 1_000;

/// Make an API key. The answer alone shows its secret.
#[utoipa::path(
    post, path = "/api/v1/keys", tag = "keys",
    request_body = CreateRequest,
    responses((status = 201, description = "The key, with its secret", body = crate::openapi::NewKey)),
)]
pub(crate) async fn create(
    access: KeyAccess,
    State(authenticator): State<Authenticator>,
    State(journal): State<Journal>,
    State(ids): State<Ids>,
    Json(request): Json<CreateRequest>,
) -> Result<Response, Problem> {
    let request = request.into_key(&access, &ids)?;
    let made = authenticator.new_key(&access.principal, request);
    let (key, secret) = made.map_err(|e| forbidden(sentence(&e)))?;
    submit(&journal, access.put(key.clone())?).await?;
    let view = KeyView {
        id: key.id,
        key: Some(secret.expose_secret()),
        name: &key.name,
        grant: &key.grant,
        created_at: None,
        expires_at: key.expires_at,
        revoked_at: None,
    };
    Ok(body::json(StatusCode::CREATED, &view))
}

impl CreateRequest {
    fn into_key(self, access: &KeyAccess, ids: &Ids) -> Result<KeyRequest, Problem> {
        if !(1..=255).contains(&self.name.len()) || self.name.chars().any(char::is_control) {
            return Err(invalid("$.name", "it is 1 to 255 bytes without control characters"));
        }
        if self.scopes.is_empty() {
            return Err(invalid("$.scopes", "at least one scope is needed"));
        }
        if self.expires_in.is_some_and(|span| span.0.is_zero()) {
            return Err(invalid("$.expires_in", "it is longer than zero"));
        }
        if self.scopes.contains(Scope::SystemAdmin) && access.tenant.is_some() {
            return Err(invalid("$.scopes", "a key of a tenant cannot carry system:admin: name no tenant"));
        }
        let tenants = reach(self.tenants, access)?;
        if self.scopes.contains(Scope::SystemAdmin) && !matches!(tenants, Tenants::All) {
            return Err(invalid("$.tenants", "an operator's key reaches every tenant: say \"all\""));
        }
        if let Some(scope) = idle(&tenants, self.scopes) {
            let why =
                format_args!("a key for several tenants can only lease jobs: {scope} would be of no use");
            return Err(invalid("$.scopes", why));
        }
        let grant = Grant { tenants, user: self.user, scopes: self.scopes, subjects: self.subjects };
        let expires_at = self.expires_in.map(|span| ids.now() + span.0);
        Ok(KeyRequest { name: self.name, grant, expires_at })
    }
}

/// The acting tenant, or for an operator that names none what the body says.
fn reach(named: Option<Reach>, access: &KeyAccess) -> Result<Tenants, Problem> {
    match (named, &access.tenant) {
        (None, Some(tenant)) => Ok(Tenants::One(tenant.clone())),
        (None, None) => Err(Problem::new(
            Kind::TenantRequired,
            "Name the key's tenant in X-Tidings-Tenant, or in the body's tenants those it reaches, or \"all\".",
        )),
        (Some(_), Some(_)) => {
            Err(invalid("$.tenants", "it is for an operator's keys, which are made without X-Tidings-Tenant"))
        }
        (Some(Reach::All(All::All)), None) => Ok(Tenants::All),
        (Some(Reach::Set(list)), None) if (1..=TENANTS_MAX).contains(&list.len()) => {
            Ok(Tenants::Set(list.into()))
        }
        (Some(Reach::Set(_)), None) => {
            Err(invalid("$.tenants", format_args!("1 to {TENANTS_MAX} tenants are needed")))
        }
    }
}

/// A scope that would count for nothing. Only claiming takes a set of tenants; for all else an operator names one.
fn idle(tenants: &Tenants, scopes: ScopeSet) -> Option<Scope> {
    let names_one = matches!(tenants, Tenants::One(_)) || scopes.contains(Scope::SystemAdmin);
    scopes.without(Scope::JobsWork).iter().next().filter(|_| !names_one)
}

impl KeyAccess {
    fn put(&self, key: tidings_store::NewKey) -> Result<Command, Problem> {
        match &self.tenant {
            Some(_) => self.command(Operation::PutKey(key)),
            None => Ok(Command::PutOperatorKey(key)),
        }
    }
}
