//! What is revoked ends the connections that it opened.

use tidings_auth::Authenticator;
use tidings_core::CredentialId;
use tidings_delivery::{CloseReason, Delivery};
use tidings_store::Revocation;
use tokio::sync::broadcast::error::RecvError;

/// Closes connections with 4401 as their credentials are revoked, until cancelled.
pub(crate) async fn run(authenticator: Authenticator, delivery: Delivery) {
    let mut revocations = authenticator.revocations();
    loop {
        match revocations.recv().await {
            Ok(Revocation::Key { id, .. }) => {
                let credential = CredentialId::Key(id);
                delivery.close_where(move |c| c.principal.credential == credential, CloseReason::revoked());
            }
            Ok(Revocation::Tenant { id, .. }) => {
                delivery.close_where(move |c| c.tenant.as_ref() == Some(&id), CloseReason::revoked());
            }
            // Some were missed: every connection is asked for.
            Err(RecvError::Lagged(_)) => {
                let authenticator = authenticator.clone();
                delivery.close_where(
                    move |c| authenticator.is_revoked(&c.principal.credential),
                    CloseReason::revoked(),
                );
            }
            Err(RecvError::Closed) => return,
        }
    }
}
