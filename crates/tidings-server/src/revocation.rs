//! What is revoked ends the connections that it opened.

use std::time::Duration;

use tidings_auth::Authenticator;
use tidings_core::{CredentialId, KeyId, TenantId};
use tidings_delivery::{CloseReason, Delivery};
use tidings_live::Hub;
use tidings_store::Revocation;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::tenants::{Directory, Standing};

/// Before tenants that could not be looked at are looked at again.
const RETRY: Duration = Duration::from_secs(1);

/// Ends connections as their credentials are revoked and their tenants suspended or deleted, whoever
/// did it.
///
/// A stream is never begun past this: it opens its feed first and looks at its tenant afterwards, and
/// here a tenant is forgotten first and its feed closed afterwards.
pub(crate) struct Closer {
    revocations: Receiver<Revocation>,
    authenticator: Authenticator,
    delivery: Delivery,
    directory: Directory,
    hub: Hub,
}

impl Closer {
    /// Hears of every revocation from now on.
    pub(crate) fn new(
        authenticator: Authenticator,
        delivery: Delivery,
        directory: Directory,
        hub: Hub,
    ) -> Self {
        Self { revocations: authenticator.revocations(), authenticator, delivery, directory, hub }
    }

    /// Runs until cancelled.
    pub(crate) async fn run(mut self) {
        loop {
            match self.revocations.recv().await {
                Ok(Revocation::Key { id, .. }) => self.close_key(id),
                Ok(Revocation::Tenant { id, .. }) => self.close_tenant(&id),
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "too many revocations at once: looking at every connection");
                    self.look_again().await;
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn close_key(&self, id: KeyId) {
        let credential = CredentialId::Key(id);
        self.delivery.close_where(move |c| c.principal.credential == credential, CloseReason::revoked());
    }

    fn close_tenant(&self, id: &TenantId) {
        self.directory.forget(id);
        self.hub.close_feed(id);
        let id = id.clone();
        self.delivery.close_where(move |c| c.tenant.as_ref() == Some(&id), CloseReason::revoked());
    }

    /// Some revocations were missed: asks for every connection, and for every tenant that has any.
    async fn look_again(&self) {
        let authenticator = self.authenticator.clone();
        self.delivery
            .close_where(move |c| authenticator.is_revoked(&c.principal.credential), CloseReason::revoked());
        self.directory.forget_all();
        // One that was deleted and made again has another epoch: its feed ends by that.
        self.hub.look_again().await;
        let mut left = self.hub.tenants();
        while let Some(tenant) = left.last() {
            match self.directory.read(tenant).await {
                Ok(standing) => {
                    if standing != Standing::Active {
                        self.close_tenant(tenant);
                    }
                    left.pop();
                }
                Err(error) => {
                    tracing::warn!(%error, "which tenants were suspended cannot be read; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
