//! The data folder through restarts, crashes, copies and rewinds.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use tidings_core::{Clock, Epoch, JobState, Seq, SystemEntropy, Tenants};

use super::{
    super::{SqliteConfig, SqliteStore, writer::Writer},
    TempDir, open,
};
use crate::{
    Batch, CommitError, OpenError, Operation, Store,
    conformance::{ManualClock, World, event, in_tenant, tenant_id, work},
};

pub(super) struct Bench {
    dir: TempDir,
    pub(super) clock: Arc<ManualClock>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self { dir: TempDir::new(), clock: Arc::default() }
    }

    pub(super) fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    fn open_at(&self, path: &Path) -> (Arc<SqliteStore>, World) {
        let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&self.clock);
        let store = Arc::new(open(path, clock).expect("opens"));
        (Arc::clone(&store), World { store, clock: Arc::clone(&self.clock) })
    }

    pub(super) fn open(&self) -> (Arc<SqliteStore>, World) {
        self.open_at(&self.data())
    }
}

async fn epoch(world: &World) -> Epoch {
    world.store.log_state(&tenant_id("acme")).await.expect("reads").expect("exists").epoch
}

async fn head(world: &World) -> Seq {
    world.store.log_state(&tenant_id("acme")).await.expect("reads").expect("exists").head
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let bench = Bench::new();
    let (store, world) = bench.open();
    world.publish("acme", 3).await;
    let first = epoch(&world).await;
    store.close().await;
    assert!(!bench.data().join("tidings.db-wal").exists(), "an orderly end leaves one file");
    drop((store, world));
    let (_store, world) = bench.open();
    assert_eq!((epoch(&world).await, head(&world).await), (first, Seq::new(3)));
    assert_eq!(world.publish("acme", 1).await[0].seq, Seq::new(4));
}

#[tokio::test]
async fn a_crash_renews_no_epoch() {
    let bench = Bench::new();
    let mut first = None;
    for round in 1..=4 {
        // Dropping without closing leaves the folder as kill -9 does: no last tick, no checkpoint.
        let (_store, world) = bench.open();
        world.publish("acme", 2).await;
        bench.clock.advance(Duration::from_millis(700));
        world.publish("acme", 1).await;
        let now = epoch(&world).await;
        assert_eq!(first.get_or_insert_with(|| now.clone()), &now);
        assert_eq!(head(&world).await, Seq::new(round * 3));
        assert!(bench.data().join("tidings.db-wal").metadata().expect("there").len() > 0);
    }
}

#[tokio::test]
async fn an_older_copy_put_back_by_rename_has_another_epoch() {
    let bench = Bench::new();
    let (store, world) = bench.open();
    world.publish("acme", 3).await;
    let first = epoch(&world).await;
    store.close().await;
    drop((store, world));
    let (database, copy) = (bench.data().join("tidings.db"), bench.data().join("copy"));
    fs::copy(&database, &copy).expect("copies");
    // Even where nothing was committed since: the file is another.
    fs::rename(&copy, &database).expect("renames");
    let (_store, world) = bench.open();
    assert_ne!(epoch(&world).await, first);
    assert_eq!(head(&world).await, Seq::new(3));
}

#[tokio::test]
async fn a_database_overwritten_in_place_has_another_epoch() {
    for orderly in [true, false] {
        let bench = Bench::new();
        let (store, world) = bench.open();
        world.publish("acme", 3).await;
        let first = epoch(&world).await;
        store.close().await;
        drop((store, world));
        let database = bench.data().join("tidings.db");
        let old = fs::read(&database).expect("reads");

        let (store, world) = bench.open();
        bench.clock.advance(Duration::from_secs(2));
        world.publish("acme", 3).await;
        assert_eq!(epoch(&world).await, first);
        if orderly {
            store.close().await;
        }
        drop((store, world));
        let _ = fs::remove_file(bench.data().join("tidings.db-wal"));
        let _ = fs::remove_file(bench.data().join("tidings.db-shm"));
        fs::write(&database, old).expect("overwrites");

        let (store, world) = bench.open();
        let second = epoch(&world).await;
        assert_ne!(second, first);
        assert_eq!(head(&world).await, Seq::new(3));
        drop((store, world));
        let (_store, world) = bench.open();
        assert_eq!(epoch(&world).await, second, "once is enough");
    }
}

#[tokio::test]
async fn a_copied_folder_is_another_history() {
    let bench = Bench::new();
    let (store, world) = bench.open();
    world.publish("acme", 3).await;
    let first = epoch(&world).await;
    store.close().await;
    drop((store, world));
    let other = bench.dir.path().join("other");
    fs::create_dir(&other).expect("makes");
    for file in ["tidings.db", "tidings.alive", "lock"] {
        fs::copy(bench.data().join(file), other.join(file)).expect("copies");
    }
    let (_copy, copied) = bench.open_at(&other);
    assert_ne!(epoch(&copied).await, first);
    let moved = bench.dir.path().join("moved");
    fs::rename(bench.data(), &moved).expect("moves");
    let (_original, world) = bench.open_at(&moved);
    assert_eq!(epoch(&world).await, first, "moving a folder is no copy");
}

#[tokio::test]
async fn leases_are_extended_by_the_time_that_the_store_was_closed() {
    let bench = Bench::new();
    let (store, world) = bench.open();
    let id = world.enqueue("acme", work()).await;
    let expires_at = |state: &JobState| match state {
        JobState::Running { lease, .. } => lease.expires_at,
        other => panic!("the job is {other:?}"),
    };
    let leased = expires_at(&world.lease("acme").await.state);
    bench.clock.advance(Duration::from_secs(10));
    store.close().await;
    drop((store, world));
    bench.clock.advance(Duration::from_hours(1));
    let (_store, world) = bench.open();
    assert_eq!(expires_at(&world.job("acme", id).await.state), leased + Duration::from_hours(1));
    bench.clock.advance(Duration::from_secs(19));
    world.complete("acme", id, 1).await.expect("the lease still holds");
}

#[tokio::test]
async fn limits_count_jobs_that_ran_before_a_restart() {
    let bench = Bench::new();
    let open = || {
        let mut config = SqliteConfig::new(bench.data());
        config.concurrency.insert(work().spec.job_type, 2);
        let store = SqliteStore::open(config, Arc::clone(&bench.clock) as _, Arc::new(SystemEntropy));
        World { store: Arc::new(store.expect("opens")), clock: Arc::clone(&bench.clock) }
    };
    let world = open();
    world.enqueue_all("acme", (0..5).map(|_| work()).collect()).await;
    assert_eq!(world.claim(Tenants::All, &["work"], 1).await.leases.len(), 1);
    drop(world);
    assert_eq!(open().claim(Tenants::All, &["work"], 9).await.leases.len(), 1);
}

#[tokio::test]
async fn a_folder_serves_one_process_and_its_files_are_private() {
    let bench = Bench::new();
    let (_store, world) = bench.open();
    world.publish("acme", 1).await;
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&bench.clock);
    assert!(matches!(open(&bench.data(), clock), Err(OpenError::Locked(_))));
    assert_eq!(bench.data().metadata().expect("there").permissions().mode() & 0o777, 0o700);
    for file in ["tidings.db", "tidings.db-wal", "tidings.alive", "lock"] {
        let mode = bench.data().join(file).metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_not_touched() {
    let bench = Bench::new();
    drop(bench.open());
    let conn = rusqlite::Connection::open(bench.data().join("tidings.db")).expect("opens");
    conn.pragma_update(None, "user_version", 99).expect("writes");
    drop(conn);
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&bench.clock);
    let refused = open(&bench.data(), clock);
    assert!(matches!(refused, Err(OpenError::Newer { found: 99, known: 1..99, .. })), "{refused:?}");
}

pub(super) fn publish() -> Batch {
    let events = vec![event("1")];
    Batch { commands: vec![in_tenant("acme", Operation::Publish { events, idempotency: None })] }
}

#[tokio::test]
async fn a_full_disk_is_survived() {
    let bench = Bench::new();
    let (store, world) = bench.open();
    world.publish("acme", 2).await;
    store.inspect(|conn| {
        conn.pragma_update(None, "max_page_count", 1).expect("the least that the file has");
    });
    let mut refused = 0;
    for _ in 0..200 {
        match store.commit(0, &publish()).await {
            Ok(_) => {}
            Err(CommitError::Unavailable(_)) => refused += 1,
            Err(other) => panic!("a full disk answered {other:?}"),
        }
    }
    assert!(refused > 0, "the file could not grow");
    store.inspect(|conn| conn.pragma_update(None, "max_page_count", 1 << 20).expect("there is room again"));
    store.commit(0, &publish()).await.expect("commits again");
    let seqs: Vec<_> = world.log("acme").await.iter().map(|e| e.seq.get()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "what was rolled back left no gap");
}

#[tokio::test]
async fn what_cannot_be_stored_is_rejected_and_rolled_back() {
    let bench = Bench::new();
    let (store, world) = bench.open();
    let twice = work();
    world.enqueue("acme", twice.clone()).await;
    let mut batch = publish();
    batch.commands.push(in_tenant("acme", Operation::Enqueue { jobs: vec![twice], idempotency: None }));
    assert!(matches!(store.commit(0, &batch).await, Err(CommitError::Rejected(_))));
    assert_eq!(head(&world).await, Seq::new(1));
    assert_eq!(world.publish("acme", 1).await[0].seq, Seq::new(2));
}

#[tokio::test]
async fn a_statement_is_compiled_once() {
    let bench = Bench::new();
    let (store, _world) = bench.open();
    store.inspect(|conn| {
        let sql = "SELECT key FROM jobs WHERE state = ? AND run_at <= ? ORDER BY run_at LIMIT ?";
        let mut statement = conn.prepare(sql).expect("compiles");
        for n in 0..10 {
            let keys = statement.query_map([n, n, n + 1], |row| row.get::<_, i64>(0)).expect("runs");
            assert_eq!(keys.count(), 0);
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
    });
}

/// A store whose file was damaged behind its back, after one commit.
async fn damaged(bench: &Bench, on_fatal: fn(&str)) -> SqliteStore {
    let mut config = SqliteConfig::new(bench.data());
    config.on_fatal = on_fatal;
    let clock: Arc<dyn Clock> = Arc::<ManualClock>::clone(&bench.clock);
    let store = SqliteStore::open(config, clock, Arc::new(SystemEntropy)).expect("opens");
    store.commit(0, &publish()).await.expect("commits");
    store.inspect(|conn| {
        // Every page but the schema's, behind the page cache's back.
        conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA shrink_memory").expect("checkpoints");
        let path = conn.path().expect("a file").to_owned();
        let mut bytes = fs::read(&path).expect("reads");
        bytes[4_096..].fill(0xA5);
        fs::write(&path, bytes).expect("writes");
        conn.pragma_update(None, "cache_size", 0).expect("sets");
        conn.execute_batch("PRAGMA shrink_memory").expect("shrinks");
    });
    store
}

#[tokio::test]
async fn a_damaged_file_stops_the_store() {
    static FATAL: parking_lot::Mutex<Vec<String>> = parking_lot::Mutex::new(Vec::new());
    let bench = Bench::new();
    let store = damaged(&bench, |message| FATAL.lock().push(message.to_owned())).await;
    let doubtful = store.commit(0, &publish()).await;
    assert!(matches!(doubtful, Err(CommitError::Unknown(_))), "{doubtful:?}");
    assert_eq!(FATAL.lock().len(), 1, "the process is told to stop, once");
    assert!(matches!(store.commit(0, &publish()).await, Err(CommitError::Unavailable(_))));
    assert_eq!(FATAL.lock().len(), 1);
}

#[tokio::test]
async fn a_damaged_file_stops_the_store_with_nothing_to_commit() {
    static FATAL: parking_lot::Mutex<Vec<String>> = parking_lot::Mutex::new(Vec::new());
    let bench = Bench::new();
    let store = damaged(&bench, |message| FATAL.lock().push(message.to_owned())).await;
    drop(store.upkeep.lock().take());
    bench.clock.advance(Duration::from_secs(2));
    store.writer.with(Writer::idle).expect("the store is open");
    assert_eq!(FATAL.lock().len(), 1, "the process is told to stop");
    bench.clock.advance(Duration::from_secs(2));
    store.writer.with(Writer::idle).expect("the store is open");
    assert!(matches!(store.commit(0, &publish()).await, Err(CommitError::Unavailable(_))));
    assert_eq!(FATAL.lock().len(), 1, "once");
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let bench = Bench::new();
    let (store, _world) = bench.open();
    store.commit(0, &publish()).await.expect("commits");
    store.close().await;
    store.close().await;
    assert!(matches!(store.commit(0, &publish()).await, Err(CommitError::Unavailable(_))));
    assert!(store.log_state(&tenant_id("acme")).await.is_err());
    drop(store);
    drop(bench.open());
}
