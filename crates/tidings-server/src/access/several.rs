use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use tidings_core::{Principal, Scope, TenantId, Tenants};
use tidings_store::{Command, Operation};

use crate::problem::Problem;

use super::{
    Access, acting,
    acting::only_works,
    gate::{Asker, Gate},
    lacks,
    may::Need,
};

/// Claims jobs and reports on them.
#[derive(Debug)]
pub(crate) struct WorkAccess {
    pub(crate) tenants: Tenants,
    asker: Asker,
    may_create: bool,
    gate: Gate,
}

impl WorkAccess {
    /// The same in one tenant, with what `N` needs besides.
    pub(crate) fn in_one_tenant<N: Need>(self) -> Result<Access<N>, Problem> {
        N::check(&self.asker.principal)?;
        match self.tenants {
            Tenants::One(tenant) => Ok(Access::already(self.asker, tenant, self.may_create, self.gate)),
            Tenants::Set(_) | Tenants::All => Err(only_works()),
        }
    }
}

impl<S> FromRequestParts<S> for WorkAccess
where
    S: Send + Sync,
    Gate: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let gate = Gate::from_ref(state);
        let asker = gate.with_scope(Scope::JobsWork, parts).await?;
        let tenants = acting::tenants(&asker.principal, &parts.headers)?;
        // A worker may wait for a tenant that its use would make; a suspended one is refused.
        let may_create = match &tenants {
            Tenants::One(tenant) => gate.look_up(&asker.principal, tenant).await?,
            Tenants::Set(_) | Tenants::All => false,
        };
        Ok(Self { tenants, asker, may_create, gate })
    }
}

/// Acts on tenants themselves.
#[derive(Debug)]
pub(crate) struct OperatorAccess;

impl<S> FromRequestParts<S> for OperatorAccess
where
    S: Send + Sync,
    Gate: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let asker = Gate::from_ref(state).by_header(parts).await?;
        if asker.principal.is_operator() { Ok(Self) } else { Err(lacks(Scope::SystemAdmin)) }
    }
}

/// Makes, lists and revokes keys: a tenant's, or the operator's own where it names none.
#[derive(Debug)]
pub(crate) struct KeyAccess {
    pub(crate) principal: Arc<Principal>,
    pub(crate) tenant: Option<TenantId>,
    may_create: bool,
    gate: Gate,
}

impl KeyAccess {
    /// The command that does `operation` in the tenant that was named.
    pub(crate) fn command(&self, operation: Operation) -> Result<Command, Problem> {
        let tenant = self.tenant.clone().expect("an operator's own keys have commands of their own");
        self.gate.command(tenant, self.may_create, operation)
    }
}

impl<S> FromRequestParts<S> for KeyAccess
where
    S: Send + Sync,
    Gate: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let gate = Gate::from_ref(state);
        let principal = gate.with_scope(Scope::KeysManage, parts).await?.principal;
        let named = acting::named(&principal, &parts.headers)?;
        let tenant = match (&principal.grant.tenants, named) {
            (_, Some(named)) => Some(named),
            (Tenants::One(own), None) => Some(own.clone()),
            (_, None) if principal.is_operator() => None,
            (_, None) => return Err(only_works()),
        };
        let may_create = match &tenant {
            Some(tenant) => gate.look_up(&principal, tenant).await?,
            None => false,
        };
        Ok(Self { principal, tenant, may_create, gate })
    }
}
