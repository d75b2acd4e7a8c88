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
    let read = "SELECT 'read', coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
                WHERE schemaname = 'tidings' AND relname = 'jobs'";
    let told = SERVER.psql(&name, &format!("BEGIN; {look}; {FILL}; {look}; {read}; ROLLBACK"));
    let fetched = told.lines().find_map(|line| line.strip_prefix("read|")).expect("it is told");
    assert_eq!(fetched, "21", "one row for each job that is looked for: {told}");
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
