//! Moving tenants between stores, through an archive.

use std::io::{BufRead, Write};

use tidings_store::{Exported, ImportError, Imported};

use super::{OfflineError, open_store};
use crate::config::Config;

/// Writes everything that the configured store keeps of its tenants to `out`. No server may run on the
/// embedded store meanwhile; on a shared one none should write.
pub async fn export(
    config: &Config,
    out: &mut (dyn Write + Send),
    tell: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Exported, OfflineError> {
    let store = open_store(config).await?;
    let done = tidings_store::export(&*store, out, tell).await;
    store.close().await;
    Ok(done?)
}

/// Takes an archive into the configured store. Cut off, it is run again and goes on where it ended.
pub async fn import(
    config: &Config,
    archive: &mut (dyn BufRead + Send),
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<Imported, OfflineError> {
    let store = open_store(config).await?;
    let done = match store.importer() {
        Some(into) => tidings_store::import(into, &*store, archive, tell).await,
        None => Err(ImportError::Unable),
    };
    store.close().await;
    Ok(done?)
}
