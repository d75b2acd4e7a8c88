//! The store and the keys that a configuration names.

use std::sync::Arc;

use tidings_auth::ServerKeys;
use tidings_store::{SqliteConfig, SqliteStore, Store};

use super::{StartError, start::World};
use crate::config::{Config, StoreChoice};

/// Opens the store that is configured.
pub(crate) async fn store(config: &Config, world: &World) -> Result<Arc<dyn Store>, StartError> {
    match config.server.store_choice()? {
        StoreChoice::Sqlite => sqlite(config, world).await,
        StoreChoice::Postgres(_) => Err(StartError::NoPostgres),
    }
}

async fn sqlite(config: &Config, world: &World) -> Result<Arc<dyn Store>, StartError> {
    let mut sqlite = SqliteConfig::new(&config.server.data);
    sqlite.concurrency = config.jobs.concurrency.iter().map(|(k, v)| (k.clone(), *v)).collect();
    let World { clock, pooled, .. } = world.clone();
    Ok(Arc::new(blocking(move || SqliteStore::open(sqlite, clock, pooled)).await?))
}

/// The keys of the data folder, or those that the servers on one database share.
pub(crate) async fn keys(
    config: &Config,
    store: &dyn Store,
    world: &World,
) -> Result<ServerKeys, StartError> {
    let Some(cluster) = store.cluster() else { return folder_keys(config, world).await };
    let master = config.secrets.master_keys()?.ok_or(StartError::NoMasterKey)?;
    let World { clock, entropy, .. } = world.clone();
    Ok(ServerKeys::open_shared(&config.server.data, cluster, master, entropy, clock).await?)
}

/// The keys of the data folder.
pub(crate) async fn folder_keys(config: &Config, world: &World) -> Result<ServerKeys, StartError> {
    let (World { clock, entropy, .. }, data) = (world.clone(), config.server.data.clone());
    Ok(blocking(move || ServerKeys::open_or_create(&data, entropy, clock)).await?)
}

/// Runs what reads and writes files beside the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("opening files does not panic and is not cancelled")
}
