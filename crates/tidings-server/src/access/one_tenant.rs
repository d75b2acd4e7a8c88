use std::{marker::PhantomData, sync::Arc};

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use tidings_core::{Principal, TenantId};
use tidings_live::{FeedHandle, Hub};
use tidings_store::{Command, Journal, Operation};

use crate::{
    problem::Problem,
    quotas::{Account, Metered},
    refusal,
};

use super::{
    acting,
    gate::{Asker, Gate},
    may::{Need, ReadEvents},
};

/// Acts in one tenant, with what `N` needs.
#[derive(Debug)]
pub(crate) struct Access<N> {
    pub(crate) principal: Arc<Principal>,
    pub(crate) tenant: TenantId,
    /// The tenant is not there, and this request may make it. Reading finds it empty.
    pub(crate) may_create: bool,
    gate: Gate,
    account: Account,
    need: PhantomData<N>,
}

impl<N: Need> Access<N> {
    async fn new(gate: Gate, asker: Asker, parts: &Parts) -> Result<Self, Problem> {
        let principal = &asker.principal;
        N::check(principal)?;
        if let Some(metered) = N::METERED {
            asker.account.look(metered)?;
        }
        let tenant = acting::tenant(principal, &parts.headers)?;
        let may_create = gate.look_up(principal, &tenant).await?;
        Ok(Self::already(asker, tenant, may_create, gate))
    }

    /// Where everything has been looked at.
    pub(super) fn already(asker: Asker, tenant: TenantId, may_create: bool, gate: Gate) -> Self {
        let Asker { principal, account } = asker;
        Self { principal, tenant, may_create, gate, account, need: PhantomData }
    }
}

impl<N> Access<N> {
    /// The command that does `operation` in this tenant. Making a tenant by it is rate-limited.
    pub(crate) fn command(&self, operation: Operation) -> Result<Command, Problem> {
        self.gate.command(self.tenant.clone(), self.may_create, operation)
    }

    /// Counts what the request brings, which its head did not say.
    pub(crate) fn spend(&self, metered: Metered, count: usize) -> Result<(), Problem> {
        self.account.spend(metered, count)
    }

    /// The tenant's feed; the tenant is made where that may be.
    pub(crate) async fn feed(&self, hub: &Hub, journal: &Journal) -> Result<FeedHandle, Problem> {
        if self.may_create {
            let ensure = self.command(Operation::Ensure)?;
            journal.submit(ensure).await.map_err(refusal::of_command)?;
        }
        let feed = hub.open(&self.tenant).await.map_err(|e| refusal::of_read(&e))?;
        let feed = feed.ok_or_else(Problem::not_found)?;
        // Looked at again now that it is open: whoever suspends the tenant from here on closes it.
        self.gate.look_again(&self.tenant).await?;
        Ok(feed)
    }

    /// Whether the server is in development mode.
    pub(crate) fn development(&self) -> bool {
        self.gate.settings.get().server.mode == crate::config::Mode::Development
    }
}

impl<S, N> FromRequestParts<S> for Access<N>
where
    S: Send + Sync,
    Gate: FromRef<S>,
    N: Need,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let gate = Gate::from_ref(state);
        let asker = gate.by_header(parts).await?;
        Self::new(gate, asker, parts).await
    }
}

/// Opens a stream: a ticket or the bearer subprotocol counts too.
#[derive(Debug)]
pub(crate) struct StreamAccess(pub(crate) Access<ReadEvents>);

impl<S> FromRequestParts<S> for StreamAccess
where
    S: Send + Sync,
    Gate: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let gate = Gate::from_ref(state);
        let asker = gate.for_stream(parts).await?;
        Access::new(gate, asker, parts).await.map(Self)
    }
}

impl std::ops::Deref for StreamAccess {
    type Target = Access<ReadEvents>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
