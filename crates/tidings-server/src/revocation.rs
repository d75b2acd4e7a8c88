//! What is revoked ends the connections that it opened, whichever server on the database revoked it.

use tidings_auth::Authenticator;
use tidings_core::CredentialId;
use tidings_delivery::{CloseReason, Delivery};
use tidings_live::Hub;
use tidings_store::Revocation;
use tokio::sync::broadcast::error::RecvError;

use crate::tenants::Directory;

/// Who must hear of a revocation.
pub(crate) struct Closing {
    pub(crate) authenticator: Authenticator,
    pub(crate) delivery: Delivery,
    pub(crate) directory: Directory,
    pub(crate) hub: Hub,
}

impl Closing {
    /// Closes connections with 4401 as their credentials are revoked, until cancelled.
    pub(crate) async fn run(self) {
        let mut revocations = self.authenticator.revocations();
        loop {
            match revocations.recv().await {
                Ok(Revocation::Key { id, .. }) => {
                    let credential = CredentialId::Key(id);
                    self.delivery
                        .close_where(move |c| c.principal.credential == credential, CloseReason::revoked());
                }
                Ok(Revocation::Tenant { id, .. }) => {
                    self.directory.forget(&id);
                    self.hub.close_feed(&id);
                    self.delivery
                        .close_where(move |c| c.tenant.as_ref() == Some(&id), CloseReason::revoked());
                }
                Err(RecvError::Lagged(_)) => self.ask_for_all(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Some were missed: every connection is asked for.
    fn ask_for_all(&self) {
        self.directory.forget_all();
        let authenticator = self.authenticator.clone();
        self.delivery
            .close_where(move |c| authenticator.is_revoked(&c.principal.credential), CloseReason::revoked());
    }
}
