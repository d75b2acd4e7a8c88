//! What the API needs to manage webhook endpoints: whether a URL may be called, and secrets.

use std::{net::SocketAddr, sync::Arc};

use tidings_auth::WebhookSecrets;
use tidings_core::{
    EndpointId, Entropy, SecretId, TenantId, Timestamp,
    webhook::{Secret, SecretKind},
};
use tidings_guard::{CheckError, Connector, ConnectorConfig};
use tidings_webhooks::signing::{NewKey, SigningKey};
use zeroize::Zeroizing;

use crate::{
    app::{StartError, World},
    config::{Config, ConfigError},
    problem::{Kind, Problem},
    routes::keys::sentence,
};

mod own;

/// A clone is the same.
#[derive(Clone)]
pub(crate) struct Endpoints {
    /// Judges where a webhook may go; who delivers connects through it.
    pub(crate) connector: Connector,
    pub(crate) secrets: WebhookSecrets,
    entropy: Arc<dyn Entropy>,
    /// As it was at the start: none of it can be reloaded.
    own: Arc<[SocketAddr]>,
}

/// Of which kind a secret is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    V1,
    V1a,
}

impl Endpoints {
    pub(crate) fn new(config: &Config, secrets: WebhookSecrets, world: &World) -> Result<Self, StartError> {
        warn_of_allow_list(config);
        let own: Arc<[SocketAddr]> = own::services(config)?.into();
        let mut connecting = ConnectorConfig::new(config.webhooks.policy(&own)?);
        connecting.proxy = config.webhooks.egress_proxy();
        if let Some(resolver) = &world.resolver {
            connecting.resolver = Arc::clone(resolver);
        }
        let connector = Connector::new(connecting).map_err(StartError::Guard)?;
        Ok(Self { connector, secrets, entropy: world.entropy.clone(), own })
    }

    /// Takes over what a reload may change. Where it is wrong, nothing changes.
    pub(crate) fn reload(&self, config: &Config) -> Result<(), ConfigError> {
        let policy = config.webhooks.policy(&self.own)?;
        warn_of_allow_list(config);
        self.connector.set_policy(policy);
        Ok(())
    }

    /// Refuses a URL that webhooks may not go to.
    pub(crate) async fn judge(&self, url: &str) -> Result<(), Problem> {
        if url.contains('#') {
            let detail = "The URL must not have a fragment (#…): nothing of it is ever sent.";
            return Err(Problem::new(Kind::UrlRefused, detail).with("path", "$.url"));
        }
        match self.connector.check(url).await {
            Ok(_) => Ok(()),
            Err(error @ (CheckError::Url(_) | CheckError::Host(_))) => {
                tracing::info!(?error, "the URL of a webhook endpoint was refused");
                Err(Problem::new(Kind::UrlRefused, sentence(&error)).with("path", "$.url"))
            }
        }
    }

    /// A new secret: as it is kept, and as it is shown once.
    pub(crate) fn new_secret(
        &self,
        tenant: &TenantId,
        endpoint: EndpointId,
        wanted: Wanted,
        now: Timestamp,
    ) -> (Secret, Zeroizing<String>) {
        let mut random = Zeroizing::new([0; 32]);
        self.entropy.fill(random.as_mut_slice());
        let NewKey { key, text } = match wanted {
            Wanted::V1 => SigningKey::new_v1(&random),
            Wanted::V1a => SigningKey::new_v1a(&random),
        };
        let kind = key.public().map_or(SecretKind::V1, |public| SecretKind::V1a { public });
        let id = SecretId::generate(now, &*self.entropy);
        let sealed = self.secrets.seal((tenant, endpoint, id), text.as_bytes(), &*self.entropy);
        let secret = Secret { id, kind, sealed: sealed.into(), created_at: now, expires_at: None };
        (secret, text)
    }
}

fn warn_of_allow_list(config: &Config) {
    if !config.webhooks.allow_cidrs.is_empty() {
        tracing::warn!(
            allow_cidrs = ?config.webhooks.allow_cidrs,
            "webhooks may go to these addresses although they are not public: anybody who may make an endpoint reaches \
             what answers there (webhooks.allow_cidrs)"
        );
    }
    if config.webhooks.allow_http {
        tracing::warn!(
            "webhooks may go over http://, where anybody on the way reads them (webhooks.allow_http)"
        );
    }
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Endpoints")
    }
}
