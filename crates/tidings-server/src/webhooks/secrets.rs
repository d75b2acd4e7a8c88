use tidings_auth::WebhookSecrets;
use tidings_core::{Endpoint, webhook::Secret};
use tidings_webhooks::dispatcher::OpenSecrets;
use zeroize::Zeroizing;

/// Secrets under the servers' master key.
pub(super) struct Sealed(pub(super) WebhookSecrets);

impl OpenSecrets for Sealed {
    fn open(&self, endpoint: &Endpoint, secret: &Secret) -> Option<Zeroizing<String>> {
        let place = (&endpoint.tenant, endpoint.id, secret.id);
        let opened = self.0.open(place, &secret.sealed);
        let opened = opened.inspect_err(|error| {
            tracing::error!(endpoint = %endpoint.id, %error, "a secret of a webhook endpoint does not open");
        });
        let text = String::from_utf8(opened.ok()?.to_vec()).ok()?;
        Some(Zeroizing::new(text))
    }
}
