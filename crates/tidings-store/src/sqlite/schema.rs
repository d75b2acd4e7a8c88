//! Numbered migrations that only go forward.

use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;

const MIGRATIONS: &[&str] =
    &[include_str!("migrations/0001_log_and_queue.sql"), include_str!("migrations/0002_schedules.sql")];

/// Brings the schema up to date, one transaction for each step.
pub(super) fn migrate(conn: &mut Connection) -> Result<(), OpenError> {
    let known = MIGRATIONS.len() as u32;
    let found: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(OpenError::from)?;
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    for (version, sql) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", version)?;
        tx.commit()?;
    }
    Ok(())
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}
