//! Publishing to tenants that are known, which goes through a call of its own.

use tidings_testkit::Proxy;
use tokio_postgres::types::Type;

use super::*;
use crate::{
    CommandError, Outcome, TenantState,
    postgres::{codec::Id, pool::Pool},
};

async fn committed(store: &PostgresStore, commands: Vec<Command>) -> Vec<Result<Vec<u64>, CommandError>> {
    let committed = store.commit(0, &Batch { commands }).await.expect("committed");
    let outcomes = committed.outcomes.into_iter().map(|outcome| match outcome? {
        Outcome::Published(events) => Ok(events.iter().map(|event| event.seq.get()).collect()),
        other => panic!("{other:?}"),
    });
    outcomes.collect()
}

fn operate(tenant: &str, operation: Operation) -> Batch {
    Batch { commands: vec![Command::Tenant { tenant: tenant_id(tenant), create: false, operation }] }
}

/// How many events a call of `tidings.append` has written: those of `tidings.commit` name every verdict.
fn appended(database: &str) -> u64 {
    let text = SERVER.psql(
        database,
        "SELECT coalesce(sum(h - b), 0) FROM tidings.batches, unnest(bases, heads) AS x(b, h) WHERE verdicts IS NULL",
    );
    text.trim().parse().expect("a number")
}

#[tokio::test]
async fn known_tenants_are_appended_to_in_the_order_of_the_commands() {
    let (name, url) = named_database();
    let store = open(PostgresConfig::new(url)).await;
    // In no order of names, and one twice.
    let batch = || vec![publish("zoe", 2), publish("b.c", 1), publish("b-c", 1), publish("zoe", 1)];
    let first = committed(&store, batch()).await;
    assert_eq!((first, appended(&name)), (vec![Ok(vec![1, 2]), Ok(vec![1]), Ok(vec![1]), Ok(vec![3])], 0));
    let second = committed(&store, batch()).await;
    assert_eq!((second, appended(&name)), (vec![Ok(vec![4, 5]), Ok(vec![2]), Ok(vec![2]), Ok(vec![6])], 5));
    let log = log_of(&store, "zoe").await;
    assert_eq!(log.iter().map(|event| event.seq.get()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(log.is_sorted_by_key(|event| event.time));
}

#[tokio::test]
async fn a_tenant_that_went_is_missed_and_made_again() {
    let (name, url) = named_database();
    let store = open(PostgresConfig::new(url)).await;
    for _ in 0..2 {
        committed(&store, vec![publish("gone", 1), publish("stays", 1)]).await;
    }
    store.commit(0, &operate("gone", Operation::Delete)).await.expect("deleted");
    let again = committed(&store, vec![publish("gone", 1), publish("stays", 1)]).await;
    assert_eq!(again, [Ok(vec![1]), Ok(vec![3])], "a new history, and the other one goes on");
    assert_eq!(appended(&name), 2, "what missed a tenant names its verdicts");
    store.commit(0, &operate("gone", Operation::Delete)).await.expect("deleted");
    let mut command = publish("gone", 1);
    if let Command::Tenant { create, .. } = &mut command {
        *create = false;
    }
    assert_eq!(committed(&store, vec![command]).await, [Err(CommandError::UnknownTenant)]);
}

#[tokio::test]
async fn a_suspended_tenant_alone_is_refused() {
    let (_, url) = named_database();
    let store = open(PostgresConfig::new(url)).await;
    let both = || vec![publish("quiet", 1), publish("loud", 1)];
    committed(&store, both()).await;
    let suspend = operate("quiet", Operation::SetState(TenantState::Suspended));
    store.commit(0, &suspend).await.expect("suspended");
    for seq in 2..4 {
        let outcomes = committed(&store, both()).await;
        assert_eq!(outcomes, [Err(CommandError::TenantSuspended), Ok(vec![seq])]);
    }
    assert_eq!(log_of(&store, "quiet").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_answer_is_lost_is_done_once() {
    let proxy = Proxy::to(SERVER.addr());
    let (name, url) = named_database();
    let through = PostgresConfig::new(SERVER.url_at(proxy.addr(), &name));
    let store = open(through).await;
    committed(&store, vec![publish("acme", 1)]).await;
    for seq in 2..5 {
        proxy.cut_at_answer(b"epochs");
        assert_eq!(committed(&store, vec![publish("acme", 1)]).await, [Ok(vec![seq])]);
        assert!(!proxy.is_armed(), "an answer was lost");
    }
    assert_eq!((log_of(&store, "acme").await.len(), appended(&name)), (4, 3));
    drop(open(PostgresConfig::new(url)).await);
}

/// One event for `acme`, as batch 7 of a writer.
async fn append_once(pool: &Pool) -> Result<i64, String> {
    let timeline: i32 = pool.query("SELECT tidings.timeline()", &[]).await.expect("reads")[0].get(0);
    let rows = pool
        .query(
            "SELECT bases[1] FROM tidings.append($1, 7, $2, NULL, '{acme}', '{1}', '{1}', '{1}', ARRAY[$1], '{a.b}',
                 '{NULL}', '{NULL}', '{1}')",
            &[(&Id([7; 16]), Type::UUID), (&timeline, Type::INT4)],
        )
        .await;
    rows.map(|rows| rows[0].get(0)).map_err(|fault| fault.text().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_append_twice_at_once_is_done_once() {
    let (name, url) = named_database();
    let store = open(PostgresConfig::new(url)).await;
    committed(&store, vec![publish("acme", 1)]).await;
    let pool = store.0.pool.clone();
    // Both wait for the counter row; who comes second finds the batch's row taken.
    let holder = pool.connection().await.expect("connects");
    holder.batch_execute("BEGIN; UPDATE tidings.tenants SET head = head").await.expect("locks");
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { append_once(&pool).await })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(3);
    while SERVER.psql(&name, waiting).trim() != "2" {
        assert!(std::time::Instant::now() < deadline, "both calls wait");
    }
    holder.batch_execute("COMMIT").await.expect("lets go");
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.expect("ends"));
    }
    answers.sort();
    assert!(matches!(&answers[..], [Ok(1), Err(text)] if text.contains("23505")), "{answers:?}");
    assert_eq!(append_once(&pool).await, Ok(1), "sent once more, it is answered as the first was");
    assert_eq!(log_of(&store, "acme").await.len(), 2);
}
