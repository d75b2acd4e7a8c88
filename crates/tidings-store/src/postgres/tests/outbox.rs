//! What users' own transactions leave for the log.

use tidings_core::{TenantId, job::StateName};

use super::*;
use crate::{
    Command, Maintain, Operation, Outcome, Swept, TenantState,
    conformance::{in_tenant, tenant_id},
};

async fn sweep(store: &PostgresStore) -> (Swept, Vec<String>) {
    let moving = Command::Maintain(Maintain::MoveOutbox { limit: 100, create: true });
    let committed = store.commit(0, &Batch { commands: vec![moving] }).await.expect("moved");
    let Ok(Outcome::Swept(swept)) = committed.outcomes[0] else {
        panic!("answered {:?}", committed.outcomes)
    };
    (swept, committed.events.iter().map(|event| event.fact.event_type.to_string()).collect())
}

/// A session of a user's own, as the role `app`.
async fn session(url: &str) -> tokio_postgres::Client {
    let url = url.replace("postgres@", "app@");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    client
}

async fn with_app(tenants: &[&str]) -> (PostgresStore, String, String) {
    let (name, url) = named_database();
    let store = open(PostgresConfig::new(&url)).await;
    SERVER.psql(
        &name,
        "DO $$ BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
    );
    for tenant in tenants {
        SERVER.psql(&name, &format!("SELECT tidings.allow('app', '{tenant}')"));
    }
    (store, name, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commits_is_moved_and_what_rolls_back_never_was() {
    let (store, _, url) = with_app(&["acme"]).await;
    assert_eq!(sweep(&store).await.0, Swept::default(), "an empty outbox moves nothing");
    let app = session(&url).await;
    app.batch_execute("BEGIN; SELECT tidings.publish('acme', 'note.lost'); ROLLBACK").await.expect("runs");
    assert_eq!(sweep(&store).await.0.rows, 0);
    app.batch_execute(
        "BEGIN;
         SELECT tidings.publish('acme', 'note.created', '{\"a\": [1, 2]}', subject => 'note/1', owner => 'ana');
         SELECT tidings.enqueue('acme', 'work', '{\"b\": 1}', priority => 7, unique_key => 'k', max_attempts => 2);
         SELECT tidings.enqueue('acme', 'later', run_at => now() + interval '1 hour');
         COMMIT",
    )
    .await
    .expect("runs");
    let (swept, told) = sweep(&store).await;
    assert_eq!(
        (swept.rows, told),
        (3, vec!["note.created".into(), "job.queued".into(), "job.scheduled".into()])
    );
    assert_eq!(sweep(&store).await.0.rows, 0, "once");
    let log = log_of(&store, "acme").await;
    assert_eq!(log.iter().map(|e| e.seq.get()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(log[0].fact.body.minimal.as_str(), r#"{"a":[1,2]}"#, "minified");
    assert_eq!(log[0].fact.owner.as_ref().map(AsRef::as_ref), Some("ana"));
    let job = log[1].fact.job.as_ref().expect("a job's").id;
    let job = store.job(&tenant_id("acme"), job).await.expect("reads").expect("exists");
    assert_eq!((job.spec.priority, job.spec.max_attempts, job.state.name()), (7, 2, StateName::Queued));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_held_open_delays_nobody_else() {
    let (store, _, url) = with_app(&["acme"]).await;
    let (slow, quick) = (session(&url).await, session(&url).await);
    slow.batch_execute("BEGIN; SELECT tidings.publish('acme', 'note.slow')").await.expect("runs");
    quick.batch_execute("SELECT tidings.publish('acme', 'note.quick')").await.expect("runs");
    assert_eq!(sweep(&store).await.1, ["note.quick"]);
    let direct =
        store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("no lock is held");
    assert_eq!(direct.events[0].seq.get(), 2);
    assert_eq!(sweep(&store).await.0.rows, 0);
    slow.batch_execute("COMMIT").await.expect("commits");
    assert_eq!(sweep(&store).await.1, ["note.slow"]);
    assert_eq!(log_of(&store, "acme").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_key_makes_one_job_of_many_rows() {
    let (store, _, url) = with_app(&["*"]).await;
    let app = session(&url).await;
    for _ in 0..3 {
        app.batch_execute("SELECT tidings.enqueue('acme', 'work', unique_key => 'k')").await.expect("runs");
    }
    sweep(&store).await;
    assert_eq!(log_of(&store, "acme").await.len(), 1);
    assert_eq!(sweep(&store).await.0, Swept::default(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_moved_is_set_aside_with_its_reason() {
    let (store, name, url) = with_app(&["acme", "closed"]).await;
    let app = session(&url).await;
    app.batch_execute("SELECT tidings.publish('closed', 'a.b'); SELECT tidings.publish('acme', 'a.b')")
        .await
        .expect("runs");
    SERVER.psql(&name, "UPDATE tidings.outbox SET data = 'no json' WHERE tenant_id = 'acme'");
    app.batch_execute("SELECT tidings.publish('acme', 'good.one')").await.expect("runs");
    let suspend = |state| in_tenant("closed", Operation::SetState(state));
    let commands = vec![in_tenant("closed", Operation::Ensure), suspend(TenantState::Suspended)];
    store.commit(0, &Batch { commands }).await.expect("suspended");
    assert_eq!(sweep(&store).await.1, ["good.one"]);
    assert_eq!(sweep(&store).await.0.rows, 0);
    let reasons = SERVER.psql(&name, "SELECT tenant_id, reason FROM tidings.outbox_rejected ORDER BY 1");
    assert_eq!(reasons.lines().count(), 2, "{reasons}");
    assert!(reasons.contains("closed|the tenant is suspended") && reasons.contains("acme|"), "{reasons}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_refuses_what_the_api_would_refuse() {
    let (_, _, url) = with_app(&["acme"]).await;
    let app = session(&url).await;
    for call in [
        "publish('other', 'a.b')",
        "publish('Acme', 'a.b')",
        "publish('acme', 'job.mine')",
        "publish('acme', 'a..b')",
        "publish('acme', 'a.b', NULL)",
        "publish('acme', 'a.b', '1e999')",
        "publish('acme', 'a.b', (repeat('[', 65) || repeat(']', 65))::jsonb)",
        "publish('acme', 'a.b', to_jsonb(repeat('x', 65536)))",
        "publish('acme', 'a.b', subject => 'a,b')",
        "publish('acme', 'a.b', subject => ' a')",
        "publish('acme', 'a.b', owner => E'a\\u202Eb')",
        "publish('acme', 'a.b', owner => '')",
        "enqueue('acme', 'A')",
        "enqueue('acme', 'work', priority => 1001)",
        "enqueue('acme', 'work', max_attempts => 0)",
        "enqueue('acme', 'work', backoff_base => '2 hours')",
        "enqueue('acme', 'work', run_at => '9999-12-31T23:59:59Z')",
        "enqueue('acme', 'work', run_at => 'infinity')",
        "enqueue('acme', 'work', run_at => '-infinity')",
        "read_tenant('acme')",
    ] {
        assert!(app.batch_execute(&format!("SELECT tidings.{call}")).await.is_err(), "{call}");
    }
    for call in ["publish('acme', 'a.b', subject => 'note/42 — é')", "enqueue('acme', 'work')"] {
        app.batch_execute(&format!("SELECT tidings.{call}")).await.expect(call);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_move_each_row_once_and_in_order() {
    let (store, _, url) = with_app(&["*"]).await;
    let other = open(PostgresConfig::new(&url)).await;
    let app = session(&url).await;
    app.batch_execute(
        "SELECT tidings.publish('t' || n % 3, 'n.n', to_jsonb(n)) FROM generate_series(1, 200) AS n",
    )
    .await
    .expect("runs");
    let movers: Vec<_> = [store.clone(), other]
        .into_iter()
        .map(|node| tokio::spawn(async move { while sweep(&node).await.0.rows > 0 {} }))
        .collect();
    for mover in movers {
        mover.await.expect("ends well");
    }
    while sweep(&store).await.0.rows > 0 {}
    let mut all = 0;
    for tenant in ["t0", "t1", "t2"] {
        let numbers: Vec<i64> = log_of(&store, tenant)
            .await
            .iter()
            .map(|event| event.fact.body.minimal.as_str().parse().expect("a number"))
            .collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        all += numbers.len();
        let id: TenantId = tenant_id(tenant);
        assert!(store.tenant(&id).await.expect("reads").is_some());
    }
    assert_eq!(all, 200);
}
