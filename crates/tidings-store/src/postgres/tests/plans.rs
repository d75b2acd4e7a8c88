//! What a session planned while the tables were empty must serve when they are full.

use tidings_core::UniqueKey;

use super::*;

/// Makes a database's one job so many more, all live.
const FILL: &str = "INSERT INTO tidings.jobs
    SELECT (jsonb_populate_record(j, jsonb_build_object('id', gen_random_uuid(), 'unique_key', n))).*
    FROM tidings.jobs j, generate_series(1, 2000) n";

fn enqueue(job: NewJob) -> Command {
    in_tenant("acme", Operation::Enqueue { jobs: vec![job], idempotency: None })
}

/// A call of a function in its schema: what is not given is null.
fn call(database: &str, function: &str, given: &[(&str, &str)]) -> String {
    let names = SERVER.psql(
        database,
        &format!(
            "SELECT name FROM pg_proc, unnest(proargnames, proargmodes) AS x(name, mode)
             WHERE mode = 'i' AND oid = (
                 -- The newest, where nodes of the release before have one with fewer parameters.
                 SELECT oid FROM pg_proc WHERE pronamespace = 'tidings'::regnamespace AND proname = '{function}'
                 ORDER BY pronargs DESC LIMIT 1)"
        ),
    );
    assert!(given.iter().all(|(name, _)| names.lines().any(|known| known == *name)), "{names}");
    let value = |name| given.iter().find(|(known, _)| *known == name).map_or("NULL", |(_, value)| *value);
    let arguments: Vec<_> = names.lines().map(|name| format!("{name} => {}", value(name))).collect();
    format!("tidings.{function}({})", arguments.join(", "))
}

/// Runs this in one transaction, and asks how many rows its statements fetched by indexes of `tables`.
fn fetched<const N: usize>(database: &str, script: &str, tables: [&str; N]) -> [u64; N] {
    let read = |table: &str| {
        format!(
            "SELECT '{table} fetched', coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
             WHERE schemaname = 'tidings' AND relname = '{table}';"
        )
    };
    let reads: String = tables.iter().map(|table| read(table)).collect();
    let told = SERVER.psql(database, &format!("BEGIN; {script}; {reads} ROLLBACK"));
    tables.map(|table| {
        let prefix = format!("{table} fetched|");
        let count = told.lines().find_map(|line| line.strip_prefix(prefix.as_str())).expect("it is told");
        count.parse().expect("a number")
    })
}

/// A database whose tables are not analysed.
async fn one_job() -> (String, PostgresStore) {
    let (name, url) = named_database();
    let store = open(PostgresConfig { connections: 3, lanes: 1, ..PostgresConfig::new(url) }).await;
    SERVER.psql(&name, "ALTER TABLE tidings.jobs SET (autovacuum_enabled = false)");
    store.commit(0, &Batch { commands: vec![enqueue(of_type("work"))] }).await.expect("commits");
    (name, store)
}

#[tokio::test]
async fn jobs_are_looked_up_by_their_whole_key() {
    let (name, _store) = one_job().await;
    let look = "SELECT count(job) FROM (
                    SELECT array_agg(tenant_id), array_agg(id) FROM (SELECT * FROM tidings.jobs LIMIT 20) j
                ) AS k(tenants, ids), LATERAL tidings.look_jobs(tenants, ids)";
    // One session: it plans with one job there, and keeps the plan.
    let rows = fetched(&name, &format!("{look}; {FILL}; {look}"), ["jobs"]);
    assert_eq!(rows, [21], "one for each job that is looked for");
}

#[tokio::test]
async fn who_holds_unique_keys_is_asked_of_their_index() {
    let (name, _store) = one_job().await;
    let look = |keys: u32| {
        format!(
            "SELECT count(job) FROM (
                 SELECT array_agg('acme'::text), array_agg('work'::text), array_agg(n::text) FROM generate_series(1, {keys}) n
             ) AS k(tenants, types, keys), LATERAL tidings.look_unique(tenants, types, keys)"
        )
    };
    let rows = fetched(&name, &format!("{}; {FILL}; {}", look(1), look(500)), ["jobs", "tenants"]);
    assert_eq!(rows, [500, 501], "one for each key that is held");
}

#[tokio::test]
async fn reports_find_their_endpoints_by_their_whole_key() {
    let (name, _store) = one_job().await;
    let report = call(
        &name,
        "report",
        &[
            ("p_writer", "gen_random_uuid()"),
            ("p_n", "1"),
            ("p_timeline", "tidings.timeline()"),
            ("r_tenant", "tenants"),
            ("r_endpoint", "ids"),
            ("r_generation", "ones"),
            ("r_cursor", "ones"),
            ("r_failing", "nos"),
            ("r_failing_since", "ones"),
            ("r_disable", "texts"),
            ("y_report", "places"),
            ("y_id", "ids"),
            ("y_position", "ones"),
            ("x_report", "places"),
            ("x_seq", "ones"),
        ],
    );
    let report = format!(
        "SELECT count(*) FROM (
             SELECT array_agg(tenant_id::text), array_agg(id), array_agg(1::bigint), array_agg(false),
                    array_agg(NULL::text), array_agg(n::integer)
             FROM (SELECT e.tenant_id, e.id, row_number() OVER () AS n FROM tidings.endpoints e) e
         ) AS e(tenants, ids, ones, nos, texts, places), LATERAL {report}"
    );
    let put = |tenant: &str, count: u32| {
        format!(
            "WITH made AS (
                 INSERT INTO tidings.endpoints (tenant_id, life, id, partition, change, spec, grant_json, secrets,
                                                state, cursor, generation, created_at)
                 SELECT {tenant}, 1, gen_random_uuid(), 0, 0, '', '', '', 0, 0, 1, 0 FROM generate_series(1, {count}) n
                 RETURNING tenant_id, life, id
             ), replayed AS (INSERT INTO tidings.replays SELECT tenant_id, life, id, id, 1, 9, 0, 0 FROM made)
             INSERT INTO tidings.deliveries
             SELECT tenant_id, life, id, seq, id, '', false, 1, 0 FROM made, generate_series(1, 10) seq"
        )
    };
    // Many of one tenant, and one of each of many: planned with one endpoint there, and with all of them.
    let fill = format!(
        "INSERT INTO tidings.tenants SELECT 'of-' || n, 1, 0, 'e', 1, 1, 0, 0 FROM generate_series(1, 250) n; {}; {}",
        put("'acme'", 250),
        put("'of-' || n", 250)
    );
    let first = put("'acme'", 1);
    for (script, reports) in
        [(format!("{first}; {report}; {fill}; {report}"), 502), (format!("{first}; {fill}; {report}"), 501)]
    {
        let rows = fetched(&name, &script, ["tenants", "endpoints", "deliveries", "replays"]);
        // Each looks at its tenant, locks and updates its endpoint, updates its replay and looks whether it is over.
        // Each endpoint's delivery goes once.
        assert_eq!(rows, [reports, 2 * reports, 501, 2 * reports]);
    }
}

#[tokio::test]
async fn whether_a_unique_key_is_held_is_asked_of_its_index() {
    let (name, store) = one_job().await;
    SERVER.psql(&name, FILL);
    let scans = || {
        let sql = "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes
                   WHERE indexrelname IN ('jobs_live', 'jobs_unique') ORDER BY 1";
        let told = SERVER.psql(&name, sql);
        let count =
            |line: &str| line.rsplit_once('|').expect("two columns").1.parse::<u64>().expect("a number");
        told.lines().map(count).collect::<Vec<_>>()
    };
    // The server counts at its leisure.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    for n in 0.. {
        let mut job = of_type("work");
        job.spec.unique_key = Some(UniqueKey::new(format!("new-{n}")).expect("valid"));
        store.commit(0, &Batch { commands: vec![enqueue(job)] }).await.expect("commits");
        let counts = scans();
        assert_eq!(counts[0], 0, "no look at all that lives");
        if counts[1] > 0 {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "the server counts nothing");
    }
}

#[tokio::test]
async fn changed_jobs_are_found_by_their_whole_key() {
    let (name, _store) = one_job().await;
    let advance = call(
        &name,
        "advance",
        &[
            ("p_writer", "gen_random_uuid()"),
            ("p_n", "1"),
            ("p_timeline", "tidings.timeline()"),
            ("t_id", "'{acme}'"),
            ("t_events", "'{0}'"),
            ("c_tenant", "ones"),
            ("c_id", "ids"),
            ("c_before", "versions"),
            ("c_state", "states"),
            ("c_attempt", "ones"),
            ("c_lease_no", "versions"),
            ("c_run_at", "versions"),
            ("c_cancel_requested", "nos"),
        ],
    );
    let advance = format!(
        "SELECT count(moved) FROM (
             SELECT array_agg(id), array_agg(1), array_agg(version), array_agg(1::smallint), array_agg(false)
             FROM (SELECT * FROM tidings.jobs LIMIT 500) j
         ) AS j(ids, ones, versions, states, nos), LATERAL {advance}"
    );
    let rows = fetched(&name, &format!("{advance}; {FILL}; {advance}"), ["jobs"]);
    assert_eq!(rows, [501], "one for each job that is changed");
}

#[tokio::test]
async fn rows_of_the_outbox_are_moved_by_their_key() {
    let (name, _store) = one_job().await;
    SERVER.psql(&name, "ALTER TABLE tidings.outbox SET (autovacuum_enabled = false)");
    let leave = |count: u32| {
        format!(
            "SELECT count(tidings.publish('acme', 'a.b', to_jsonb(n))) FROM generate_series(1, {count}) n"
        )
    };
    // What is known of the table is from when it was nearly empty.
    SERVER.psql(&name, &leave(60));
    SERVER.psql(&name, "ANALYZE tidings.outbox");
    let commit = call(
        &name,
        "commit",
        &[
            ("p_writer", "gen_random_uuid()"),
            ("p_n", "1"),
            ("p_timeline", "tidings.timeline()"),
            ("t_id", "'{acme}'"),
            ("t_create", "'{f}'"),
            ("t_epoch", "'{new}'"),
            ("u_tenant", "ones"),
            ("u_any_state", "nos"),
            ("o_unit", "units"),
            ("o_id", "ids"),
        ],
    );
    let script = format!(
        "SELECT cardinality(moved.verdicts) FROM (
             SELECT array_agg(id), array_agg(row_number), array_agg(1), array_agg(false)
             FROM (SELECT id, row_number() OVER ()::int FROM tidings.outbox ORDER BY id LIMIT 200) d
         ) AS d(ids, units, ones, nos), LATERAL {commit} AS moved"
    );
    let script = format!("{script}; {}; {script}", leave(2_000));
    let left = "SELECT 'left', count(*) FROM tidings.outbox";
    let told = SERVER.psql(&name, &format!("BEGIN; {script}; {left}; ROLLBACK"));
    assert!(told.lines().any(|line| line == "left|1800"), "{told}");
    let rows = fetched(&name, &script, ["outbox"]);
    assert_eq!(rows, [520], "each is named once here and found once there");
}
