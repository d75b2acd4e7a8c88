//! Numbered migrations that only go forward.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::{OpenError, Schema};

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_log_and_queue.sql"),
    include_str!("migrations/0002_schedules.sql"),
    include_str!("migrations/0003_webhooks.sql"),
    include_str!("migrations/0004_dead_letters.sql"),
];

/// Brings the schema up to date, one transaction for each step.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), OpenError> {
    let known = MIGRATIONS.len() as u32;
    let found: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(OpenError::from)?;
    check(found, known)?;
    for (version, sql) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    Ok(())
}

const fn check(found: u32, known: u32) -> Result<(), OpenError> {
    if found > known {
        return Err(OpenError::Newer { what: "data folder", found, known });
    }
    Ok(())
}

/// How far the schema of a file is; changes nothing. A file that is not there has none, and one that
/// this release may not run on is an error.
pub(super) fn of(path: &Path) -> Result<Schema, OpenError> {
    let known = MIGRATIONS.len() as u32;
    if !path.exists() {
        return Ok(Schema { found: 0, known });
    }
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let found = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    check(found, known)?;
    Ok(Schema { found, known })
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}
