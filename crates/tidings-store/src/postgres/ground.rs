//! What the promises stand on in the database and the schema cannot see to: who reads, and what a commit is worth.

use super::pool::Pool;
use crate::OpenError;

/// Refuses a schema whose rights were lost on its way here, and sessions whose commits may be lost; warns where the whole
/// server runs without what it needs to survive a crash.
pub(super) async fn check(pool: &Pool) -> Result<(), OpenError> {
    let rows = pool
        .query(
            "SELECT current_setting('synchronous_commit'), current_setting('fsync'), current_setting('full_page_writes'),
                    quote_ident(current_user), NOT EXISTS (
                        SELECT FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
                        WHERE p.pronamespace = 'tidings'::regnamespace AND p.proname LIKE 'read\\_%' AND p.prosecdef
                          AND (r.rolname <> 'tidings_reader' OR NOT has_function_privilege(p.oid, 'EXECUTE'))
                    ) AND NOT EXISTS (
                        SELECT FROM pg_policy y JOIN pg_class c ON c.oid = y.polrelid
                        WHERE c.relnamespace = 'tidings'::regnamespace
                          AND NOT (SELECT oid FROM pg_roles WHERE rolname = 'tidings_reader') = ANY (y.polroles)
                    ) AND EXISTS (
                        SELECT FROM pg_policy y JOIN pg_class c ON c.oid = y.polrelid
                        WHERE c.relnamespace = 'tidings'::regnamespace AND c.relname = 'events'
                    )",
            &[],
        )
        .await?;
    let row = &rows[0];
    let (commits, fsync, pages): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
    let (role, readable): (&str, bool) = (row.get(3), row.get(4));
    if !readable {
        return Err(OpenError::Database(format!(
            "the schema tidings came here without its rights, as a dump does that is restored where the role \
             tidings_reader is missing; make it first (CREATE ROLE tidings_reader NOLOGIN; GRANT tidings_reader TO {role};) \
             and restore the dump once more, into an empty database"
        )));
    }
    if commits == "off" {
        return Err(OpenError::Database(
            "synchronous_commit is off in the sessions of the pooler: what is acknowledged could be lost; turn it on \
             (ALTER DATABASE … SET synchronous_commit = on) and restart the pooler"
                .into(),
        ));
    }
    for (setting, value) in [("fsync", fsync), ("full_page_writes", pages)] {
        if value == "off" {
            tracing::warn!(
                setting,
                "the database runs with this off: when its machine crashes, what was acknowledged may be lost or damaged"
            );
        }
    }
    Ok(())
}
