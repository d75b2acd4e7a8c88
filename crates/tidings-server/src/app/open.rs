//! The store and the keys that a configuration names.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use tidings_auth::ServerKeys;
use tidings_live::{RedisBus, RedisConfig, RedisConfigError};
use tidings_store::{OpenError, PostgresConfig, PostgresStore, SqliteConfig, SqliteStore, Store};
use tokio::time::{Duration, Instant, sleep};

use super::{StartError, start::World};
use crate::config::{Config, Secret, StoreChoice};

/// Opens the store that is configured.
pub(crate) async fn store(config: &Config, world: &World) -> Result<Arc<dyn Store>, StartError> {
    match config.server.store_choice()? {
        StoreChoice::Sqlite => sqlite(config, world).await,
        StoreChoice::Postgres(url) => postgres(config, &url, world).await,
    }
}

async fn sqlite(config: &Config, world: &World) -> Result<Arc<dyn Store>, StartError> {
    let mut sqlite = SqliteConfig::new(&config.server.data);
    sqlite.concurrency = config.jobs.limits();
    let World { clock, pooled, .. } = world.clone();
    Ok(Arc::new(blocking(move || SqliteStore::open(sqlite, clock, pooled)).await?))
}

/// Waits for a database that is out of reach, since it may be starting as well.
async fn postgres(config: &Config, url: &SecretString, world: &World) -> Result<Arc<dyn Store>, StartError> {
    const PAUSE: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + config.postgres.start_timeout.0;
    let postgres = postgres_config(config, url);
    let mut told = false;
    loop {
        match PostgresStore::open(postgres.clone(), world.pooled.clone()).await {
            Ok(store) => return Ok(Arc::new(store)),
            Err(error @ OpenError::Unreachable { .. }) if Instant::now() + PAUSE < deadline => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "waiting for the database");
                }
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

pub(crate) fn postgres_config(config: &Config, url: &SecretString) -> PostgresConfig {
    let mut postgres = PostgresConfig::new(url.expose_secret());
    postgres.connections = config.postgres.connections;
    postgres.lanes = config.postgres.lanes;
    postgres.connect_timeout = config.postgres.connect_timeout.0;
    postgres.statement_timeout = config.postgres.statement_timeout.0;
    postgres.concurrency = config.jobs.limits();
    postgres
}

/// What the servers on one database tell each other through. It may be out of reach: it is tried on.
pub(crate) fn redis(
    config: &Config,
    keys: &ServerKeys,
    world: &World,
) -> Result<Option<Arc<RedisBus>>, StartError> {
    let Some(redis) = &config.server.redis else { return Ok(None) };
    // Servers with the same key share one database; others may share the Redis.
    Ok(Some(RedisBus::connect(redis_config(redis, keys.id())?, world.pooled.clone())))
}

pub(crate) fn redis_config(addresses: &Secret, cluster: &str) -> Result<RedisConfig, RedisConfigError> {
    RedisConfig::new(addresses.expose(), cluster)
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
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("opening files does not panic and is not cancelled")
}
