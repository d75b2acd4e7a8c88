use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_nodes_that_start_at_once_migrate_once() {
    let (name, url) = named_database();
    let starts: Vec<_> = (0..10)
        .map(|_| {
            let config = PostgresConfig { connections: 3, lanes: 1, ..PostgresConfig::new(&url) };
            tokio::spawn(async move { PostgresStore::migrate(&config).await.expect("migrates") })
        })
        .collect();
    let mut taken = 0;
    for start in starts {
        taken += start.await.expect("ends");
    }
    let steps: usize =
        SERVER.psql(&name, "SELECT count(*) FROM tidings.migrations").trim().parse().expect("a number");
    assert_eq!(taken, steps, "each step once");
    let store = open(PostgresConfig::new(&url)).await;
    store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("it serves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_itself_ends_statements_that_take_too_long() {
    let config = PostgresConfig {
        statement_timeout: std::time::Duration::from_secs(7),
        ..PostgresConfig::new(SERVER.fresh_database())
    };
    let store = open(config).await;
    let limit = store.0.pool.query("SHOW statement_timeout", &[]).await.expect("asked");
    assert_eq!(limit[0].get::<_, &str>(0), "7s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_used_where_it_allows_that() {
    let (name, url) = named_database();
    open(PostgresConfig::new(&url)).await;
    SERVER.psql(&name, "INSERT INTO tidings.migrations VALUES (1000, 1)");
    open(PostgresConfig::new(&url)).await;
    SERVER.psql(&name, "INSERT INTO tidings.migrations VALUES (1001, 1000)");
    let refused = PostgresStore::open(PostgresConfig::new(&url), Arc::new(SystemEntropy)).await;
    assert!(matches!(refused, Err(OpenError::Newer { found: 1001, .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ordinary_role_is_told_what_it_lacks() {
    let (name, url) = named_database();
    SERVER.psql(&name, &format!("CREATE ROLE plain LOGIN; GRANT CREATE ON DATABASE \"{name}\" TO plain"));
    // The role that serves reads may have been made by another database of this server.
    open(PostgresConfig::new(SERVER.fresh_database())).await;
    let config = PostgresConfig::new(url.replace("postgres@", "plain@"));
    let refused =
        PostgresStore::open(config.clone(), Arc::new(SystemEntropy)).await.expect_err("refused").to_string();
    assert!(refused.contains("GRANT tidings_reader TO plain"), "{refused}");
    SERVER.psql(&name, "GRANT tidings_reader TO plain");
    let store = open(config).await;
    store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("it serves");
    assert_eq!(log_of(&store, "acme").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_takes_too_long_is_not_asked_again() {
    let (name, url) = named_database();
    let config =
        PostgresConfig { statement_timeout: std::time::Duration::from_secs(3), ..PostgresConfig::new(url) };
    let store = open(config).await;
    // A sequence counts what was begun, whatever becomes of it.
    SERVER.psql(&name, "CREATE SEQUENCE tries");
    let late = store.read("SELECT nextval('tries'), pg_sleep(60)", &[]).await;
    assert!(late.is_err(), "{late:?}");
    assert_eq!(SERVER.psql(&name, "SELECT last_value FROM tries").trim(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_schema_without_its_rights_is_refused() {
    for lost in [
        "ALTER FUNCTION tidings.read_job OWNER TO CURRENT_USER",
        "DROP POLICY one_tenant ON tidings.events",
        "ALTER POLICY one_tenant ON tidings.jobs TO CURRENT_USER",
    ] {
        let (name, url) = named_database();
        open(PostgresConfig::new(&url)).await;
        SERVER.psql(&name, lost);
        let refused = PostgresStore::open(PostgresConfig::new(&url), Arc::new(SystemEntropy)).await;
        let refused = refused.expect_err(lost).to_string();
        assert!(
            refused.contains("CREATE ROLE tidings_reader NOLOGIN; GRANT tidings_reader TO postgres"),
            "{lost}: {refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_synchronous_whatever_the_database_says() {
    let (name, url) = named_database();
    SERVER.psql("postgres", &format!("ALTER DATABASE \"{name}\" SET synchronous_commit = off"));
    let store = open(PostgresConfig::new(&url)).await;
    let row = store.0.work.query("SHOW synchronous_commit", &[]).await.expect("asked");
    assert_eq!(row[0].get::<_, &str>(0), "on");
    // Where replicas are waited for, they still are.
    SERVER.psql("postgres", &format!("ALTER DATABASE \"{name}\" SET synchronous_commit = remote_apply"));
    let store = open(PostgresConfig::new(&url)).await;
    let row = store.0.work.query("SHOW synchronous_commit", &[]).await.expect("asked");
    assert_eq!(row[0].get::<_, &str>(0), "remote_apply");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_makes_do_with_the_connections_that_it_gets() {
    let (name, url) = named_database();
    open(PostgresConfig::new(SERVER.fresh_database())).await;
    SERVER.psql(
        &name,
        &format!(
            "CREATE ROLE few LOGIN CONNECTION LIMIT 3; GRANT tidings_reader TO few;
             GRANT CREATE ON DATABASE \"{name}\" TO few"
        ),
    );
    let config =
        PostgresConfig { connections: 12, lanes: 4, ..PostgresConfig::new(url.replace("postgres@", "few@")) };
    let store = open(config).await;
    let at_once = |count: usize| {
        let reads = (0..count).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store.read("SELECT 1", &[]).await.map(|_| ()).map_err(|error| format!("{error:?}"))
            })
        });
        reads.collect::<Vec<_>>()
    };
    // Readers have all of them before the first writer asks.
    for read in at_once(16) {
        read.await.expect("ends").expect("reads");
    }
    let reads = at_once(64);
    for lane in 0..4 {
        let batch = Batch { commands: vec![publish(&format!("t{lane}"), 1)] };
        store.commit(lane, &batch).await.expect("commits");
    }
    for read in reads {
        read.await.expect("ends").expect("reads");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reads_hold_up_neither_changes_nor_what_nodes_share() {
    let (name, url) = named_database();
    let store = open(PostgresConfig { connections: 6, lanes: 1, ..PostgresConfig::new(&url) }).await;
    store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("commits");
    let reads: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.read("SELECT pg_sleep(60)", &[]).await.is_ok() })
        })
        .collect();
    let slow = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'SELECT pg_sleep(60)'";
    while SERVER.psql(&name, slow).trim() != "3" {
        tokio::task::yield_now().await;
    }
    store.answers().await.expect("it is there");
    let claim = Command::Claim(crate::Claim {
        tenants: tidings_core::Tenants::All,
        worker: tidings_core::WorkerName::new("w").expect("valid"),
        types: vec!["work".parse().expect("valid")],
        max: 1,
        length: std::time::Duration::from_secs(30),
    });
    store
        .commit(0, &Batch { commands: vec![claim] })
        .await
        .expect("looks")
        .outcomes
        .remove(0)
        .expect("claims");
    crate::Cluster::beat(&store).await.expect("says that it lives");
    assert_eq!(SERVER.psql(&name, slow).trim(), "3", "they still read");
    reads.iter().for_each(tokio::task::JoinHandle::abort);
}
