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

#[cfg(test)]
mod tests {
    use rusqlite::params;
    use tidings_core::{Event, Seq, Timestamp, Verbosity};

    use super::*;
    use crate::conformance::{event, tenant_id};

    #[test]
    fn bodies_that_were_stored_without_their_format_are_told_by_how_they_begin() {
        let mut conn = Connection::open_in_memory().expect("opens");
        for sql in &MIGRATIONS[..3] {
            conn.execute_batch(sql).expect("migrates");
        }
        conn.pragma_update(None, "user_version", 3).expect("is told");
        // Data that looks like an envelope is none.
        let data = r#"{"seq":10,"id":"01020304-0000-0000-0000-000000000000"}"#;
        let event = |seq| Event {
            seq: Seq::new(seq),
            time: Timestamp::from_secs(1_800_000_000),
            tenant: tenant_id("acme"),
            fact: event(data),
        };
        let bodies = |event: &Event| {
            let wrapped = [event.envelope(Verbosity::Minimal), event.cloud_event(Verbosity::Minimal)];
            wrapped.map(Some).into_iter().chain([Some(data.into()), None])
        };
        let mut expected = Vec::new();
        for seq in [9, 10] {
            let event = event(seq);
            for ((endpoint, body), format) in (1..).zip(bodies(&event)).zip([0, 1, 2, 0]) {
                conn.execute(
                    "INSERT INTO deliveries VALUES (1, ?, ?, ?, 'a', 1, 1, 0, 2, ?)",
                    params![endpoint, seq as i64, event.fact.id.as_bytes(), body],
                )
                .expect("inserts");
                expected.push((seq as i64, endpoint, format));
            }
        }
        migrate(&mut conn).expect("migrates");
        let mut select =
            conn.prepare("SELECT seq, endpoint_key, format FROM deliveries ORDER BY 1, 2").expect("valid");
        let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("reads");
        assert_eq!(found.collect::<rusqlite::Result<Vec<(i64, i64, i64)>>>().expect("reads"), expected);
    }
}
