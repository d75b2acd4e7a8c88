//! Statements are prepared in sessions of the node's own, and nowhere else.

use tokio_postgres::types::Type;

use super::*;

/// How many statements the session keeps that the next look without parameters meets.
async fn kept(store: &PostgresStore) -> i64 {
    let rows = store.0.pool.query("SELECT count(*) FROM pg_prepared_statements", &[]).await.expect("asked");
    rows[0].get(0)
}

async fn committed_and_read(url: String) -> PostgresStore {
    let store = open(PostgresConfig::new(url)).await;
    for _ in 0..3 {
        store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("commits");
    }
    assert_eq!(log_of(&store, "acme").await.len(), 3);
    store
}

#[tokio::test]
async fn a_session_of_its_own_keeps_statements() {
    let store = committed_and_read(SERVER.fresh_database()).await;
    assert!(store.0.pool.prepares());
    assert!(kept(&store).await > 0);
}

/// A pooler may refuse what a session begins with, or drop it without a word: then only the session itself tells.
#[tokio::test]
async fn a_session_that_a_pooler_lends_keeps_none() {
    let silent = PgBouncer::ignoring_options(&SERVER);
    for pooler in [&*POOLER, &silent] {
        let (name, _) = named_database();
        let store = committed_and_read(pooler.url(&name)).await;
        assert!(!store.0.pool.prepares());
        assert_eq!(kept(&store).await, 0);
    }
}

#[tokio::test]
async fn what_is_prepared_outlives_a_change_of_the_schema_and_its_own_loss() {
    let (name, url) = named_database();
    let store = open(PostgresConfig { connections: 1, ..PostgresConfig::new(url) }).await;
    let pool = &store.0.pool;
    SERVER.psql(&name, "CREATE TABLE things AS SELECT 1 AS a");
    let all = "SELECT * FROM things WHERE a >= $1";
    let columns = async || pool.query(all, &[(&0, Type::INT4)]).await.expect("asked")[0].len();
    assert_eq!(columns().await, 1);
    SERVER.psql(&name, "ALTER TABLE things ADD b int");
    assert_eq!(columns().await, 2);
    assert_eq!(columns().await, 2, "and is prepared anew");
    pool.execute("DEALLOCATE ALL").await.expect("done");
    assert_eq!(columns().await, 2);
}
