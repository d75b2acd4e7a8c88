use std::sync::Arc;

use tidings_auth::Authenticator;
use tidings_core::TenantId;
use tidings_live::Hub;
use tidings_store::{Command, Journal, Operation, Store, TenantRecord, TenantState};

use crate::{leases::Desk, problem::Problem, refusal, routes::submit};

use super::Directory;

/// What an operator does to tenants, with what follows from it elsewhere in the process.
#[derive(Clone)]
pub(crate) struct TenantAdmin {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) journal: Journal,
    pub(crate) directory: Directory,
    pub(crate) hub: Hub,
    pub(crate) desk: Desk,
    pub(crate) authenticator: Authenticator,
}

impl TenantAdmin {
    /// Makes a tenant; `true` where it was not there before.
    pub(crate) async fn create(&self, id: &TenantId) -> Result<(TenantRecord, bool), Problem> {
        let before = self.record(id).await?;
        self.change(id, Operation::Create).await?;
        let record = self.existing(id).await?;
        Ok((record, before.is_none()))
    }

    pub(crate) async fn existing(&self, id: &TenantId) -> Result<TenantRecord, Problem> {
        self.record(id).await?.ok_or_else(Problem::not_found)
    }

    /// Sorted by id, after `after`.
    pub(crate) async fn list(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantRecord>, Problem> {
        self.store.tenants(after, limit).await.map_err(|e| refusal::of_read(&e))
    }

    /// Suspends it: reads and writes are refused, its live connections end.
    pub(crate) async fn suspend(&self, id: &TenantId) -> Result<TenantRecord, Problem> {
        self.existing(id).await?;
        self.change(id, Operation::SetState(TenantState::Suspended)).await?;
        self.end_connections(id).await;
        self.existing(id).await
    }

    pub(crate) async fn resume(&self, id: &TenantId) -> Result<TenantRecord, Problem> {
        self.existing(id).await?;
        self.change(id, Operation::SetState(TenantState::Active)).await?;
        // Its jobs may be claimed again.
        self.desk.ring_all();
        self.existing(id).await
    }

    /// Its events, jobs and keys go; a tombstone stays.
    pub(crate) async fn delete(&self, id: &TenantId) -> Result<(), Problem> {
        self.existing(id).await?;
        self.change(id, Operation::Delete).await?;
        self.end_connections(id).await;
        Ok(())
    }

    /// Gives its history a new name: every cursor into the old one is answered by a reset.
    pub(crate) async fn renew_epoch(&self, id: &TenantId) -> Result<TenantRecord, Problem> {
        self.existing(id).await?;
        self.change(id, Operation::RenewEpoch).await?;
        self.hub.renew_feed(id);
        self.existing(id).await
    }

    async fn record(&self, id: &TenantId) -> Result<Option<TenantRecord>, Problem> {
        self.store.tenant(id).await.map_err(|e| refusal::of_read(&e))
    }

    async fn change(&self, id: &TenantId, operation: Operation) -> Result<(), Problem> {
        let create = matches!(operation, Operation::Create);
        let changed = submit(&self.journal, Command::Tenant { tenant: id.clone(), create, operation }).await;
        self.directory.forget(id);
        changed.map(drop)
    }

    async fn end_connections(&self, id: &TenantId) {
        self.hub.close_feed(id);
        // Credentials of the tenant count no longer from here on, not a second later.
        if let Err(error) = self.authenticator.step().await {
            tracing::warn!(%error, "a tenant's end will count a little later");
        }
    }
}

impl std::fmt::Debug for TenantAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenantAdmin")
    }
}
