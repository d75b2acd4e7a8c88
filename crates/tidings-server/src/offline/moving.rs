//! Moving tenants between stores, through an archive.

use std::io::{BufRead, Write};

use tidings_auth::WebhookSecrets;
use tidings_core::{Clock as _, EndpointId, SecretId, SystemClock, SystemEntropy, TenantId};
use tidings_store::{Exported, ImportError, Imported, Seals, Store};

use super::{OfflineError, open_existing, open_store, refuse_beside_servers};
use crate::{
    app::{World, open},
    config::Config,
};

/// What the servers of a store seal the secrets of webhooks under.
struct Sealed(WebhookSecrets);

impl Seals for Sealed {
    fn open(&self, place: (&TenantId, EndpointId, SecretId), sealed: &[u8]) -> Result<Vec<u8>, String> {
        self.0.open(place, sealed).map(|text| text.to_vec()).map_err(|error| error.to_string())
    }

    fn seal(&self, place: (&TenantId, EndpointId, SecretId), secret: &[u8]) -> Result<Vec<u8>, String> {
        Ok(self.0.seal(place, secret, &SystemEntropy))
    }
}

/// A database's is its master key, which need not be given where there is no webhook.
async fn seals(config: &Config, store: &dyn Store) -> Result<Box<dyn Seals>, OfflineError> {
    let master = config.secrets.master_keys().map_err(crate::app::StartError::from)?;
    if store.cluster().is_none() {
        let keys = open::folder_keys(config, &World::system()).await?;
        return Ok(Box::new(Sealed(keys.webhook_secrets())));
    }
    Ok(master
        .map_or_else(|| Box::new(NoKey) as _, |master| Box::new(Sealed(WebhookSecrets::new(master))) as _))
}

const NO_KEY: &str = "secrets.master_key is missing, under which the servers on this database seal it; run this again with \
                      TIDINGS_SECRETS__MASTER_KEY or TIDINGS_SECRETS__MASTER_KEY_FILE set to theirs";

/// Of a database whose master key was not given.
struct NoKey;

impl Seals for NoKey {
    fn open(&self, _: (&TenantId, EndpointId, SecretId), _: &[u8]) -> Result<Vec<u8>, String> {
        Err(NO_KEY.into())
    }

    fn seal(&self, _: (&TenantId, EndpointId, SecretId), _: &[u8]) -> Result<Vec<u8>, String> {
        Err(NO_KEY.into())
    }
}

/// Writes everything that the configured store keeps of its tenants to `out`. No server may run on the
/// embedded store meanwhile; on a shared one none should write.
pub async fn export(
    config: &Config,
    out: &mut (dyn Write + Send),
    tell: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Exported, OfflineError> {
    let (store, now) = (open_existing(config).await?, SystemClock.now());
    let done = match seals(config, &*store).await {
        Ok(seals) => tidings_store::export(&*store, &*seals, now, out, tell).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    store.close().await;
    done
}

/// Takes an archive into the configured store, unless servers run on it. Cut off, it is run again and goes on where it ended.
pub async fn import(
    config: &Config,
    archive: &mut (dyn BufRead + Send),
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<Imported, OfflineError> {
    let store = open_store(config).await?;
    let done = import_into(config, &*store, archive, tell).await;
    store.close().await;
    done
}

async fn import_into(
    config: &Config,
    store: &dyn Store,
    archive: &mut (dyn BufRead + Send),
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<Imported, OfflineError> {
    refuse_beside_servers(store).await?;
    let seals = seals(config, store).await?;
    let into = store.importer().ok_or(ImportError::Unable)?;
    Ok(tidings_store::import(into, store, &*seals, archive, tell).await?)
}
