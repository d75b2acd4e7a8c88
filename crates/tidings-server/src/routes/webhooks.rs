//! `/api/v1/webhooks`: endpoints, what is sent to them again, and the log of their deliveries.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod deliveries;
pub(crate) mod list;
pub(crate) mod of_event;
pub(crate) mod pause_user;
pub(crate) mod replay;
pub(crate) mod request;
pub(crate) mod rotate;
pub(crate) mod show;
pub(crate) mod state;
pub(crate) mod test;
pub(crate) mod update;
mod view;

use tidings_core::{Endpoint, EndpointId, Principal};
use tidings_store::{Command, Outcome, Store, Webhooks};

use crate::{
    access::{Access, may},
    problem::Problem,
    refusal,
    webhooks::Changes,
};

pub(crate) use create::create;
pub(crate) use delete::delete;
pub(crate) use deliveries::deliveries;
pub(crate) use list::list;
pub(crate) use of_event::of_event;
pub(crate) use pause_user::pause_user;
pub(crate) use replay::replay;
pub(crate) use rotate::rotate_secret;
pub(crate) use show::show;
pub(crate) use state::{enable, pause};
pub(crate) use test::test;
pub(crate) use update::update;

fn kept(store: &dyn Store) -> Result<&dyn Webhooks, Problem> {
    store.webhooks().ok_or_else(refusal::internal)
}

/// The endpoint, where it is the acting tenant's and carries no more than the credential does: whoever could
/// turn it elsewhere would else read with another's grant.
async fn visible(
    store: &dyn Store,
    access: &Access<may::ManageWebhooks>,
    id: EndpointId,
) -> Result<Endpoint, Problem> {
    let found = kept(store)?.endpoint(&access.tenant, id).await.map_err(|e| refusal::of_read(&e))?;
    found.filter(|endpoint| is_visible(&access.principal, endpoint)).ok_or_else(Problem::not_found)
}

fn is_visible(principal: &Principal, endpoint: &Endpoint) -> bool {
    principal.may_grant(&endpoint.grant).is_ok()
}

/// Commits a change of one endpoint.
async fn submit(changes: &Changes, command: Command) -> Result<Endpoint, Problem> {
    changes.submit(command).await.map(changed)
}

fn changed(outcome: Outcome) -> Endpoint {
    match outcome {
        Outcome::Endpoint(endpoint) => *endpoint,
        other => unreachable!("changing an endpoint is answered by it, not by {other:?}"),
    }
}
