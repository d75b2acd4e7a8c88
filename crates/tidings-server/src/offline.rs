//! What is done at a store and its keys without a server: for the command line.

mod moving;
mod reseal;

use std::{sync::Arc, time::Duration};

use tidings_auth::{MasterKeys, Rewrapped, SecretString, ServerKeys};
use tidings_core::{Epoch, Event, SystemClock, SystemEntropy, TenantId};
use tidings_store::{
    Cluster, Command, CommitSink, Journal, JournalConfig, Operation, PostgresStore, Schema, SqliteStore,
    Store,
};

use crate::{
    app::{StartError, World, open},
    config::{Config, StoreChoice},
};

pub use moving::{export, import};

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    #[error(transparent)]
    Open(#[from] StartError),
    #[error(
        "the embedded store (server.store) keeps its keys as files of the data folder: nothing is sealed"
    )]
    NothingSealed,
    #[error("secrets.master_key_previous is missing: it is the key that is being replaced")]
    NoPreviousKey,
    #[error(
        "there is no store in {0}: no server has made one there. Is server.data (--data) or server.store (--store-file) right?"
    )]
    NoStore(String),
    #[error(
        "a server runs on this database (it said so {0:.1?} ago): stop every server first, or a tenant's readers go on where \
         the history is no longer theirs"
    )]
    ServersRun(Duration),
    #[error("asking whether servers run on this database")]
    Beats(#[from] tidings_store::ClusterError),
    #[error("the keys in the database")]
    Keys(#[from] tidings_auth::KeysError),
    #[error("reading the tenants")]
    Read(#[from] tidings_store::ReadError),
    #[error(transparent)]
    Moving(#[from] tidings_store::ImportError),
    #[error("a webhook secret of {tenant}")]
    WebhookSecret { tenant: TenantId, source: tidings_auth::UnsealError },
    #[error("sealing the webhook secrets of {tenant}")]
    Reseal { tenant: TenantId, source: tidings_store::CommandError },
    #[error("there is no tenant {0}")]
    NoTenant(TenantId),
    #[error("giving {tenant} a new epoch")]
    Renew { tenant: TenantId, source: tidings_store::CommandError },
}

/// The store that is configured; to be closed by whoever opened it.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    open::store(config, &World::system()).await
}

/// Opens a store that is there already: a name that was misspelt makes none.
async fn open_existing(config: &Config) -> Result<Arc<dyn Store>, OfflineError> {
    if schema(config).await?.found == 0 {
        let place = match config.server.store_choice().map_err(StartError::from)? {
            StoreChoice::Sqlite => config.server.data.display().to_string(),
            StoreChoice::Postgres(_) => "that database".into(),
        };
        return Err(OfflineError::NoStore(place));
    }
    Ok(open_store(config).await?)
}

/// Refuses where another process says that it serves this database. A server says so every second: one whose last
/// word is not followed by another has ended.
async fn refuse_beside_servers(store: &dyn Store) -> Result<(), OfflineError> {
    const LOOK_AGAIN: Duration = Duration::from_millis(2_500);
    let Some(cluster) = store.cluster() else { return Ok(()) };
    let Some(before) = cluster.last_beat_elsewhere().await? else { return Ok(()) };
    tokio::time::sleep(LOOK_AGAIN).await;
    match cluster.last_beat_elsewhere().await? {
        Some(now) if now.at > before.at => Err(OfflineError::ServersRun(now.ago)),
        _ => Ok(()),
    }
}

/// How far the schema of the configured store is; changes nothing.
pub async fn schema(config: &Config) -> Result<Schema, StartError> {
    match config.server.store_choice()? {
        StoreChoice::Sqlite => {
            let data = config.server.data.clone();
            Ok(open::blocking(move || SqliteStore::schema(&data)).await?)
        }
        StoreChoice::Postgres(url) => Ok(PostgresStore::schema(&open::postgres_config(config, &url)).await?),
    }
}

/// Brings the schema of the configured store up to date, and nothing else.
pub async fn migrate(config: &Config) -> Result<(), StartError> {
    match config.server.store_choice()? {
        StoreChoice::Sqlite => open_store(config).await?.close().await,
        StoreChoice::Postgres(url) => {
            PostgresStore::migrate(&open::postgres_config(config, &url)).await?;
        }
    }
    Ok(())
}

/// The keys that the configured server signs with. The embedded store is not opened: its server may run.
pub async fn open_keys(config: &Config) -> Result<ServerKeys, StartError> {
    let world = World::system();
    match config.server.store_choice()? {
        StoreChoice::Sqlite => open::folder_keys(config, &world).await,
        StoreChoice::Postgres(_) => {
            let store = open_store(config).await?;
            let keys = open::keys(config, &*store, &world).await;
            store.close().await;
            keys
        }
    }
}

/// The administrator's key that servers on one database made, if they have.
pub async fn admin_key(config: &Config) -> Result<Option<SecretString>, OfflineError> {
    at_cluster(config, async |_, cluster, master| {
        Ok(tidings_auth::read_shared_admin_key(cluster, &master).await?)
    })
    .await
}

/// The same; where there is none, for the operators' keys came from another store, one is made and put there.
pub async fn make_admin_key(config: &Config) -> Result<SecretString, OfflineError> {
    if let Some(key) = admin_key(config).await? {
        return Ok(key);
    }
    at_cluster(config, async |store, _, _| {
        let (world, journal) =
            (World::system(), Journal::start(store.clone(), Arc::new(Nobody), JournalConfig::default()));
        let keys = open::keys(config, &**store, &world).await?;
        let made = keys.make_admin_key(&**store, &journal).await;
        journal.close().await;
        Ok(made?)
    })
    .await
}

/// Seals what the previous master key sealed under the present one.
pub async fn rotate_master_key(config: &Config) -> Result<Rewrapped, OfflineError> {
    if config.secrets.master_key_previous.is_none() {
        return Err(OfflineError::NoPreviousKey);
    }
    at_cluster(config, async |store, cluster, master| {
        let mut done = tidings_auth::rewrap(cluster, &master, &SystemEntropy).await?;
        let webhooks = reseal::webhooks(store, master).await?;
        done.rewrapped += webhooks.rewrapped;
        done.kept += webhooks.kept;
        Ok(done)
    })
    .await
}

async fn at_cluster<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Arc<dyn Store>, &dyn Cluster, MasterKeys) -> Result<T, OfflineError>,
) -> Result<T, OfflineError> {
    let StoreChoice::Postgres(_) = config.server.store_choice().map_err(StartError::from)? else {
        return Err(OfflineError::NothingSealed);
    };
    let master = config.secrets.master_keys().map_err(StartError::from)?.ok_or(StartError::NoMasterKey)?;
    let store = open_store(config).await?;
    let done = match store.cluster() {
        Some(cluster) => work(&store, cluster, master).await,
        None => Err(OfflineError::NothingSealed),
    };
    store.close().await;
    done
}

/// Gives the histories of these tenants (`None`: of all) new names, as after a restore; tells of each.
/// Refused where servers run: their feeds would go on under the old name.
pub async fn renew_epochs(
    config: &Config,
    only: Option<TenantId>,
    renewed: impl FnMut(&TenantId),
) -> Result<(), OfflineError> {
    let store = open_existing(config).await?;
    let done = match refuse_beside_servers(&*store).await {
        Ok(()) => {
            let journal = Journal::start(store.clone(), Arc::new(Nobody), JournalConfig::default());
            let done = renew(&*store, &journal, only, renewed).await;
            journal.close().await;
            done
        }
        Err(error) => Err(error),
    };
    store.close().await;
    done
}

async fn renew(
    store: &dyn Store,
    journal: &Journal,
    only: Option<TenantId>,
    mut renewed: impl FnMut(&TenantId),
) -> Result<(), OfflineError> {
    const PAGE: usize = 500;
    if let Some(tenant) = only {
        if store.tenant(&tenant).await?.is_none() {
            return Err(OfflineError::NoTenant(tenant));
        }
        renew_one(journal, &tenant).await?;
        renewed(&tenant);
        return Ok(());
    }
    let mut after = None;
    loop {
        let page = store.tenants(after.as_ref(), PAGE).await?;
        for tenant in &page {
            renew_one(journal, &tenant.id).await?;
            renewed(&tenant.id);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
            _ => return Ok(()),
        }
    }
}

async fn renew_one(journal: &Journal, tenant: &TenantId) -> Result<(), OfflineError> {
    let operation = Operation::RenewEpoch;
    let command = Command::Tenant { tenant: tenant.clone(), create: false, operation };
    let renewed = journal.submit(command).await;
    renewed.map(drop).map_err(|source| OfflineError::Renew { tenant: tenant.clone(), source })
}

/// Nobody listens to what is committed here.
struct Nobody;

impl CommitSink for Nobody {
    fn committed(&self, _: &[Arc<Event>], _: &[(TenantId, Epoch)]) {}
}

impl World {
    fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
    }
}
