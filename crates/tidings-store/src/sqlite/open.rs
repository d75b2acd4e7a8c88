//! Opening a data folder: what must be true before the first commit.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, config::DbConfig, params};
use tidings_core::{Clock, Entropy, Timestamp};

use super::{
    folder::{Folder, Sidecar},
    schema, tenant,
};
use crate::OpenError;

/// Older ones lose pages of the WAL under a rare race.
const ENGINE_MIN: i32 = 3_051_003;

/// A checkpoint may hold the write lock for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_mins(1);

pub(super) fn check_engine() -> Result<(), OpenError> {
    if rusqlite::version_number() < ENGINE_MIN {
        return Err(OpenError::Engine(rusqlite::version().to_owned()));
    }
    Ok(())
}

pub(super) fn writer(path: &Path) -> Result<Connection, OpenError> {
    let mut conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare(&conn)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    // Checkpoints are the maintenance thread's, off the path of commits.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "cache_size", -64 * 1024)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "foreign_keys", false)?;
    schema::migrate(&mut conn)?;
    Ok(conn)
}

pub(super) fn maintainer(path: &Path) -> Result<Connection, OpenError> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare(&conn)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    // While it waits for readers it holds the writer up.
    conn.busy_timeout(Duration::from_millis(500))?;
    Ok(conn)
}

pub(super) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare(&conn)?;
    conn.pragma_update(None, "cache_size", -8 * 1024)?;
    Ok(conn)
}

fn prepare(conn: &Connection) -> Result<(), OpenError> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(128);
    // Else a statement with a bound LIMIT, or one bound where a partial index has a constant, is
    // compiled anew each time that it is bound.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Only an orderly close checkpoints: then what a crash leaves and what dropping leaves are the same.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(())
}

/// What changed while nobody looked, put right in one transaction: a database that is another's copy
/// or an older state of itself gets new epochs, and leases get back the time that they could not be
/// extended in. Returns what the sidecar is to say.
pub(super) fn reconcile(
    conn: &mut Connection,
    folder: &Folder,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Sidecar, OpenError> {
    let io = |source| OpenError::Io { path: folder.database().display().to_string(), source };
    let identity = folder.identity().map_err(io)?;
    let beside = folder.read_sidecar().map_err(io)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (ticks, alive_at, known): (i64, i64, String) =
        tx.query_row("SELECT ticks, alive_at, identity FROM meta", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let within = Sidecar { ticks: ticks as u64, alive_at: Timestamp::from_micros(alive_at) };
    let rewound = beside.is_some_and(|beside| within.ticks < beside.ticks);
    let copied = !known.is_empty() && known != identity;
    if rewound || copied {
        let renewed = tenant::renew_epochs(&tx, entropy)?;
        tracing::warn!(rewound, copied, renewed, "the database was restored: every history has a new name");
    }
    let now = clock.now();
    let seen = beside.unwrap_or_default();
    let alive_at = within.alive_at.max(seen.alive_at);
    if alive_at > Timestamp::default() {
        extend_leases(&tx, now.since(alive_at))?;
    }
    let next = Sidecar { ticks: within.ticks.max(seen.ticks) + 1, alive_at: now };
    tx.execute(
        "UPDATE meta SET ticks = ?, alive_at = ?, identity = ?",
        params![next.ticks as i64, next.alive_at.as_micros(), identity],
    )?;
    tx.commit()?;
    folder.write_sidecar(next).map_err(io)?;
    Ok(next)
}

pub(super) fn extend_leases(conn: &Connection, outage: Duration) -> rusqlite::Result<()> {
    let micros = i64::try_from(outage.as_micros()).unwrap_or(i64::MAX);
    conn.execute("UPDATE jobs SET lease_expires_at = lease_expires_at + ? WHERE state = 2", [micros])?;
    Ok(())
}
