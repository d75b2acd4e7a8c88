//! What the role that serves reads may see, whatever it asks.

use super::*;
use crate::{
    Operation,
    conformance::{in_tenant, work},
};

const TABLES: [&str; 24] = [
    "tenants",
    "events",
    "jobs",
    "idempotency",
    "keys",
    "tickets",
    "revocations",
    "batches",
    "writers",
    "meta",
    "nodes",
    "duties",
    "secrets",
    "outbox",
    "outbox_rejected",
    "outbox_grants",
    "forks",
    "places",
    "schedules",
    "endpoints",
    "deliveries",
    "replays",
    "attempts",
    "migrations",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reading_role_sees_one_tenant_and_no_other() {
    let (name, url) = named_database();
    let store = open(PostgresConfig::new(url)).await;
    for tenant in ["acme", "other"] {
        let jobs = Operation::Enqueue { jobs: vec![work()], idempotency: None };
        let batch = Batch { commands: vec![publish(tenant, 2), in_tenant(tenant, jobs)] };
        store.commit(0, &batch).await.expect("committed");
    }
    let known: String = SERVER.psql(
        &name,
        "SELECT string_agg(relname, ',' ORDER BY relname) FROM pg_class c JOIN pg_namespace s ON s.oid = relnamespace
         WHERE nspname = 'tidings' AND relkind IN ('r', 'p') AND NOT relispartition",
    );
    let mut tables = TABLES;
    tables.sort_unstable();
    assert_eq!(known.trim(), tables.join(","), "every table is tried");
    for table in TABLES {
        let asked = format!(
            "DO $$ DECLARE n bigint; BEGIN
                 SET LOCAL ROLE tidings_reader;
                 PERFORM set_config('tidings.tenant', 'acme', true);
                 EXECUTE 'SELECT count(*) FROM tidings.{table} t WHERE to_jsonb(t)->>''tenant_id'' IS DISTINCT FROM ''acme''' INTO n;
                 RAISE EXCEPTION 'saw %', n;
             EXCEPTION WHEN insufficient_privilege THEN NULL;
                 WHEN raise_exception THEN IF SQLERRM <> 'saw 0' THEN RAISE; END IF;
             END $$"
        );
        SERVER.psql(&name, &asked);
    }
    let partition = SERVER.psql(
        &name,
        "SELECT count(*) FROM pg_class WHERE relname ~ '^events_' AND relkind = 'r' AND relrowsecurity
            AND NOT has_table_privilege('tidings_reader', oid, 'SELECT')",
    );
    assert_ne!(partition.trim(), "0", "the days of the log are no way around it");
    let own = SERVER.psql(
        &name,
        "BEGIN; SET LOCAL ROLE tidings_reader; SET LOCAL tidings.tenant = 'acme';
         SELECT count(*) FROM tidings.events; SELECT count(*) FROM tidings.jobs; COMMIT",
    );
    assert_eq!(own.split_whitespace().collect::<Vec<_>>(), ["3", "1"]);
    let nobody = SERVER
        .psql(&name, "BEGIN; SET LOCAL ROLE tidings_reader; SELECT count(*) FROM tidings.events; COMMIT");
    assert_eq!(nobody.trim(), "0", "without a tenant there is nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_calls_what_runs_with_other_rights() {
    let (name, url) = named_database();
    open(PostgresConfig::new(url)).await;
    let open_to_all = SERVER.psql(
        &name,
        "SELECT string_agg(proname, ' ') FROM pg_proc p JOIN pg_namespace s ON s.oid = pronamespace
         WHERE nspname = 'tidings' AND has_function_privilege('public', p.oid, 'EXECUTE')",
    );
    assert_eq!(open_to_all.trim(), "");
}
