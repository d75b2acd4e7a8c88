//! The secrets of webhook endpoints, which are kept sealed in every store.

use tidings_core::{EndpointId, Entropy, SecretId, TenantId};
use zeroize::Zeroizing;

use super::ServerKeys;
use crate::{MasterKeys, UnsealError};

/// Seals and opens what endpoints sign with. A clone is the same.
#[derive(Debug, Clone)]
pub struct WebhookSecrets(MasterKeys);

impl WebhookSecrets {
    pub const fn new(master: MasterKeys) -> Self {
        Self(master)
    }

    /// For one place: moved to another endpoint, or to another tenant's, it does not open.
    pub fn seal(
        &self,
        (tenant, endpoint, id): (&TenantId, EndpointId, SecretId),
        text: &[u8],
        entropy: &dyn Entropy,
    ) -> Vec<u8> {
        self.0.seal(&purpose(tenant, endpoint, id), text, entropy)
    }

    pub fn open(
        &self,
        (tenant, endpoint, id): (&TenantId, EndpointId, SecretId),
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        self.0.open(&purpose(tenant, endpoint, id), sealed)
    }

    /// Whether the present master key sealed it.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        self.0.is_current(sealed)
    }
}

impl ServerKeys {
    pub fn webhook_secrets(&self) -> WebhookSecrets {
        WebhookSecrets(self.0.master.clone())
    }
}

fn purpose(tenant: &TenantId, endpoint: EndpointId, id: SecretId) -> String {
    format!("webhook secret: {tenant} {endpoint} {id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::SystemEntropy;

    #[test]
    fn a_secret_opens_in_its_own_place_alone() {
        let master = |byte: &str| MasterKeys::new(byte.repeat(32).parse().expect("64 digits"), None);
        let secrets = WebhookSecrets::new(master("ab"));
        let tenant = |name: &str| TenantId::new(name).expect("valid");
        let (endpoint, id) = (EndpointId::from_bytes([1; 16]), SecretId::from_bytes([2; 16]));
        let (acme, other) = (tenant("acme"), tenant("other"));
        let sealed = secrets.seal((&acme, endpoint, id), b"whsec_x", &SystemEntropy);
        assert_eq!(**secrets.open((&acme, endpoint, id), &sealed).expect("its place"), *b"whsec_x");
        assert!(!sealed.windows(7).any(|part| part == b"whsec_x"));
        let elsewhere = [
            (&other, endpoint, id),
            (&acme, EndpointId::from_bytes([3; 16]), id),
            (&acme, endpoint, SecretId::from_bytes([3; 16])),
        ];
        for place in elsewhere {
            assert_eq!(secrets.open(place, &sealed).expect_err("another place"), UnsealError::Damaged);
        }
        let others = WebhookSecrets::new(master("cd")).open((&acme, endpoint, id), &sealed);
        assert!(matches!(others, Err(UnsealError::OtherKey { .. })), "{others:?}");
    }
}
