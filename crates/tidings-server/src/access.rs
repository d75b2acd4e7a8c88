//! Who asks, and for which tenant: the one place where a request becomes a [`Principal`].
//!
//! The order is part of the contract: credential (401), scope (403), then the tenant (400, 403, 404),
//! all before the body is read or anything is looked up by id. Extractors:
//!
//! - [`Access`] acts in one tenant and needs what its parameter says: `Access<may::WriteJobs>`.
//! - [`StreamAccess`] may come by ticket or subprotocol too, since browsers can set no header.
//! - [`WorkAccess`] claims and reports, for as many tenants as its key holds.
//! - [`OperatorAccess`] acts on tenants themselves; [`KeyAccess`] makes keys for one or for none.

mod acting;
mod credential;
mod gate;
pub(crate) mod may;
mod one_tenant;
mod several;

use http::{HeaderValue, header};
use tidings_core::{Principal, Scope, Subject, UserId, Verbosity};

use crate::problem::{Kind, Problem};

pub(crate) use acting::TENANT_HEADER;
pub(crate) use gate::{Gate, suspended};
pub(crate) use one_tenant::{Access, StreamAccess};
pub(crate) use several::{KeyAccess, OperatorAccess, WorkAccess};

/// The one answer to every credential that is missing or does not count.
pub(crate) fn unauthorized() -> Problem {
    Problem::new(
        Kind::Unauthorized,
        "Send a valid credential: Authorization: Bearer followed by an API key or a token.",
    )
    .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))
}

pub(crate) fn forbidden(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Kind::Forbidden, detail)
}

fn lacks(scope: Scope) -> Problem {
    forbidden(format!("Your credential lacks the scope {scope}."))
}

/// Whether `verbosity` may be read: more than the minimum needs a scope, and the most a server in
/// development mode.
pub(crate) fn may_read_at(
    principal: &Principal,
    verbosity: Verbosity,
    development: bool,
) -> Result<(), Problem> {
    if verbosity > Verbosity::Minimal && !principal.has(Scope::EventsDetail) {
        return Err(lacks(Scope::EventsDetail));
    }
    if verbosity == Verbosity::Debug && !development {
        return Err(forbidden("Verbosity debug needs a server in development mode (server.mode)."));
    }
    Ok(())
}

/// The owner that a job or an event gets: whoever asks, unless it may name another.
pub(crate) fn owner_of(principal: &Principal, named: Option<UserId>) -> Result<Option<UserId>, Problem> {
    let owner = named.or_else(|| principal.user().cloned());
    if principal.may_act_for(owner.as_ref()) {
        return Ok(owner);
    }
    Err(forbidden("Your credential stands for a user and may name only that user as owner."))
}

pub(crate) fn may_write_about(principal: &Principal, subject: Option<&Subject>) -> Result<(), Problem> {
    if principal.may_write_about(subject) {
        return Ok(());
    }
    Err(forbidden("Your credential is narrowed to subjects that do not cover this one."))
}
