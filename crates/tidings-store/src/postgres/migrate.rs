//! Numbered migrations that only go forward, each in a transaction of its own under one lock, so that any
//! number of nodes may start at once.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio_postgres::types::Type;

use super::pool::Pool;
use crate::{OpenError, Schema};

struct Migration {
    sql: &'static str,
    /// The oldest schema whose programs still run against this one.
    compatible_from: i32,
}

const MIGRATIONS: &[Migration] = &[
    Migration { sql: include_str!("migrations/0001_log_and_queue.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0002_commit.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0003_looks.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0004_reading.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0005_housekeeping.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0006_cluster.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0007_schedules.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0008_outbox.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0009_history.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0010_webhooks.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0011_append.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0012_places.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0013_plans.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0014_advance.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0015_more_plans.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0016_bounds.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0017_pausing.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0018_dead_letters.sql"), compatible_from: 1 },
    Migration { sql: include_str!("migrations/0019_died.sql"), compatible_from: 1 },
];

/// Ours among the advisory locks of the database ("tidings").
const LOCK: i64 = 32_762_643_847_147_123;
/// Another node may be migrating.
const PATIENCE: Duration = Duration::from_mins(5);
const SERVER_MIN: i32 = 140_000;

/// Brings the schema up to date. Returns how many steps that took.
pub(super) async fn migrate(pool: &Pool) -> Result<usize, OpenError> {
    let mut connection = pool.first().await?;
    check_server(&connection).await?;
    let mut taken = 0;
    for (version, migration) in (1..).zip(MIGRATIONS) {
        if found(&connection).await? >= version {
            continue;
        }
        if step(&mut connection, version, migration).await? {
            taken += 1;
        }
    }
    check_version(&connection).await?;
    Ok(taken)
}

/// The schema as it is, without a change. One that this release may not run on is an error.
pub(super) async fn schema(pool: &Pool) -> Result<Schema, OpenError> {
    let connection = pool.first().await?;
    check_server(&connection).await?;
    let found = found(&connection).await?;
    if found > 0 {
        check_version(&connection).await?;
    }
    Ok(Schema { found: found as u32, known: MIGRATIONS.len() as u32 })
}

async fn check_server(connection: &Object) -> Result<(), OpenError> {
    let row = connection
        .query_typed(
            "SELECT current_setting('server_version_num')::int4, current_setting('server_version'),
                    current_setting('server_encoding')",
            &[],
        )
        .await?
        .remove(0);
    if row.get::<_, i32>(0) < SERVER_MIN {
        let version: String = row.get(1);
        return Err(OpenError::Database(format!("PostgreSQL 14 or later is needed; this one is {version}")));
    }
    let encoding: &str = row.get(2);
    if encoding != "UTF8" {
        return Err(OpenError::Database(format!("the database's encoding has to be UTF8; it is {encoding}")));
    }
    Ok(())
}

/// The newest step that was taken; 0 where the schema is not there yet.
async fn found(connection: &Object) -> Result<i32, OpenError> {
    let there = connection.query_typed("SELECT to_regclass('tidings.migrations') IS NOT NULL", &[]).await?;
    if !there[0].get::<_, bool>(0) {
        return Ok(0);
    }
    let rows =
        connection.query_typed("SELECT coalesce(max(version), 0) FROM tidings.migrations", &[]).await?;
    Ok(rows[0].get(0))
}

/// A newer schema is run against where it says that it may be.
async fn check_version(connection: &Object) -> Result<(), OpenError> {
    let known = MIGRATIONS.len() as i32;
    let rows = connection
        .query_typed(
            "SELECT version, compatible_from FROM tidings.migrations ORDER BY version DESC LIMIT 1",
            &[],
        )
        .await?;
    let (found, compatible_from): (i32, i32) = (rows[0].get(0), rows[0].get(1));
    if found > known && compatible_from > known {
        return Err(OpenError::Newer { what: "database", found: found as u32, known: known as u32 });
    }
    Ok(())
}

/// `false`: another node was faster.
async fn step(connection: &mut Object, version: i32, migration: &Migration) -> Result<bool, OpenError> {
    let transaction = connection.transaction().await?;
    transaction
        .batch_execute(&format!(
            "SET LOCAL lock_timeout = '{}s'; SET LOCAL statement_timeout = 0;",
            PATIENCE.as_secs()
        ))
        .await?;
    transaction.query_typed("SELECT pg_advisory_xact_lock($1)", &[(&LOCK, Type::INT8)]).await?;
    transaction.batch_execute(PREPARE).await?;
    let done = transaction
        .query_typed("SELECT FROM tidings.migrations WHERE version = $1", &[(&version, Type::INT4)])
        .await?;
    if !done.is_empty() {
        transaction.commit().await?;
        return Ok(false);
    }
    transaction.batch_execute(migration.sql).await?;
    // Nobody calls what is not given to them: some of it runs with other rights than its caller's.
    transaction.batch_execute("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA tidings FROM PUBLIC").await?;
    transaction
        .query_typed(
            "INSERT INTO tidings.migrations (version, compatible_from) VALUES ($1, $2)",
            &[(&version, Type::INT4), (&migration.compatible_from, Type::INT4)],
        )
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// What the first step needs: the schema, and the role that serves reads. Roles belong to the whole cluster,
/// so that another database may be making it at this moment.
const PREPARE: &str = "
CREATE SCHEMA IF NOT EXISTS tidings;
CREATE TABLE IF NOT EXISTS tidings.migrations (
    version          integer PRIMARY KEY,
    compatible_from  integer NOT NULL,
    applied_at       timestamptz NOT NULL DEFAULT now()
);
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tidings_reader') THEN
        BEGIN
            CREATE ROLE tidings_reader NOLOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE insufficient_privilege USING MESSAGE = format(
                    'the role tidings_reader is missing and %s may not create roles; let an administrator run: '
                    'CREATE ROLE tidings_reader NOLOGIN; GRANT tidings_reader TO %1$s;', quote_ident(current_user));
        END;
    END IF;
    IF NOT pg_has_role(current_user, 'tidings_reader', 'MEMBER') THEN
        BEGIN
            EXECUTE format('GRANT tidings_reader TO %I', current_user);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE insufficient_privilege USING MESSAGE = format(
                '%s is no member of tidings_reader; let an administrator run: GRANT tidings_reader TO %1$s;',
                quote_ident(current_user));
        END;
    END IF;
END $$;";
