use http::{HeaderMap, HeaderName};
use tidings_core::{Principal, TenantId, Tenants};

use crate::problem::{Kind, Problem};

use super::forbidden;

/// Where an operator names the tenant that it acts for.
pub(crate) const TENANT_HEADER: HeaderName = HeaderName::from_static("x-tidings-tenant");

/// The tenant that an operator named; from anyone else the header is refused.
pub(super) fn named(principal: &Principal, headers: &HeaderMap) -> Result<Option<TenantId>, Problem> {
    let mut values = headers.get_all(&TENANT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if !principal.is_operator() {
        return Err(forbidden("X-Tidings-Tenant is the operator's: your credential has its own tenant."));
    }
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    match text.and_then(|t| t.parse().ok()) {
        Some(tenant) => Ok(Some(tenant)),
        None => Err(Problem::new(
            Kind::BadParameter,
            "X-Tidings-Tenant is one tenant id: [a-z0-9][a-z0-9._-]{0,62}.",
        )),
    }
}

/// The one tenant that a request acts in.
pub(super) fn tenant(principal: &Principal, headers: &HeaderMap) -> Result<TenantId, Problem> {
    if let Some(named) = named(principal, headers)? {
        return Ok(named);
    }
    match &principal.grant.tenants {
        Tenants::One(tenant) => Ok(tenant.clone()),
        _ if principal.is_operator() => Err(Problem::new(
            Kind::TenantRequired,
            "Your credential is an operator's: name the tenant in the header X-Tidings-Tenant.",
        )),
        Tenants::Set(_) | Tenants::All => Err(only_works()),
    }
}

/// Only claiming takes a set: a key for several tenants can do nothing else.
pub(super) fn only_works() -> Problem {
    forbidden("A key for several tenants can only lease jobs and report on them.")
}

/// The tenants that a claim takes from.
pub(super) fn tenants(principal: &Principal, headers: &HeaderMap) -> Result<Tenants, Problem> {
    let named = named(principal, headers)?;
    Ok(named.map_or_else(|| principal.grant.tenants.clone(), Tenants::One))
}
