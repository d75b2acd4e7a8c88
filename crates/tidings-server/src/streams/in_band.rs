use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use tidings_auth::{AuthError, Authenticator, Credential};
use tidings_core::{Principal, TenantId};
use tidings_delivery::{Control, Denied};

/// Judges in-band tokens as those of requests are judged.
#[derive(Debug, Clone)]
pub(crate) struct InBand(pub(crate) Authenticator);

impl Control for InBand {
    fn reauthenticate(
        &self,
        token: String,
        _current: Arc<Principal>,
        tenant: TenantId,
    ) -> BoxFuture<'static, Result<Arc<Principal>, Denied>> {
        let authenticator = self.0.clone();
        async move {
            match authenticator.authenticate(Credential::Bearer(&token)).await {
                Ok(principal) if principal.grant.tenants.contains(&tenant) => Ok(principal),
                Ok(_) => Err(Denied::Forbidden),
                Err(AuthError::Invalid { .. }) => Err(Denied::Invalid),
                Err(AuthError::Unavailable(_)) => Err(Denied::Unavailable),
            }
        }
        .boxed()
    }
}
