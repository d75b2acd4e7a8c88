//! `/api/v1/keys`: API keys of a tenant, or the operator's own.

pub(crate) mod create;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod show;
mod view;

use tidings_core::{KeyId, Tenants};
use tidings_store::{KeyRecord, Store};

use crate::{access::KeyAccess, problem::Problem, refusal};

pub(crate) use create::create;
pub(crate) use list::list;
pub(crate) use revoke::revoke;
pub(crate) use show::show;

/// The key, where it belongs to whom the request acts for and is no wider than the credential.
async fn visible(store: &dyn Store, access: &KeyAccess, id: KeyId) -> Result<KeyRecord, Problem> {
    let record = store.key(id).await.map_err(|e| refusal::of_read(&e))?;
    record.filter(|record| is_visible(access, record)).ok_or_else(Problem::not_found)
}

fn is_visible(access: &KeyAccess, record: &KeyRecord) -> bool {
    let belongs = match (&access.tenant, &record.grant.tenants) {
        (Some(tenant), Tenants::One(one)) => tenant == one,
        (None, Tenants::Set(_) | Tenants::All) => true,
        _ => false,
    };
    belongs && access.principal.may_grant(&record.grant).is_ok()
}

/// An error's text as a sentence.
pub(crate) fn sentence(error: &impl ToString) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}
