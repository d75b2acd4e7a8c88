//! A database that takes no writes for longer than a lease, while the server runs on.

use std::time::Duration;

use rusqlite::Connection;
use tidings_core::{JobId, JobState, Timestamp};

use super::{
    super::{SqliteStore, writer::Writer},
    folder::{Bench, publish},
};
use crate::{
    Command, CommitError, Maintain, Outcome, Store as _,
    conformance::{World, work},
};

const OUTAGE: Duration = Duration::from_hours(1);

/// Another program that has begun to write, until it is dropped.
fn occupy(bench: &Bench, store: &SqliteStore) -> Connection {
    store.inspect(|conn| conn.busy_timeout(Duration::ZERO).expect("is set"));
    let other = Connection::open(bench.data().join("tidings.db")).expect("opens");
    other.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    other
}

async fn refused(store: &SqliteStore) -> bool {
    matches!(store.commit(0, &publish()).await, Err(CommitError::Unavailable(_)))
}

/// A job that runs, and when its lease ends.
async fn leased(world: &World) -> (JobId, Timestamp) {
    let id = world.enqueue("acme", work()).await;
    world.lease("acme").await;
    (id, expires_at(world, id).await)
}

async fn expires_at(world: &World, id: JobId) -> Timestamp {
    match world.job("acme", id).await.state {
        JobState::Running { lease, .. } => lease.expires_at,
        other => panic!("the job is {other:?}"),
    }
}

async fn rescued(world: &World) -> usize {
    match world.run(Command::Maintain(Maintain::Rescue { limit: 100 })).await {
        Ok(Outcome::Swept(swept)) => swept.rows,
        other => panic!("a rescue answered {other:?}"),
    }
}

#[tokio::test]
async fn leases_are_extended_before_a_rescue_judges_them() {
    let bench = Bench::new();
    let (store, world) = bench.open();
    let (id, end) = leased(&world).await;
    let other = occupy(&bench, &store);
    assert!(refused(&store).await);
    bench.clock.advance(OUTAGE);
    assert!(refused(&store).await, "and nothing is noted meanwhile");
    drop(other);
    assert_eq!(rescued(&world).await, 0);
    assert_eq!(expires_at(&world, id).await, end + OUTAGE);
    world.publish("acme", 1).await;
    assert_eq!(expires_at(&world, id).await, end + OUTAGE, "once");
    bench.clock.advance(Duration::from_secs(31));
    assert_eq!(rescued(&world).await, 1, "a lease that nobody extends after it is lost");
}

#[tokio::test]
async fn the_first_sign_of_life_ends_an_outage() {
    let bench = Bench::new();
    let (store, world) = bench.open();
    let (id, end) = leased(&world).await;
    let other = occupy(&bench, &store);
    bench.clock.advance(OUTAGE);
    store.writer.with(Writer::idle).expect("the store is open");
    assert_eq!(expires_at(&world, id).await, end, "the sign failed, and nothing else was tried");
    drop(other);
    store.writer.with(Writer::idle).expect("the store is open");
    assert_eq!(expires_at(&world, id).await, end + OUTAGE);
}

#[tokio::test]
async fn a_full_disk_is_an_outage() {
    let bench = Bench::new();
    let (store, world) = bench.open();
    let (id, end) = leased(&world).await;
    // Its ticks need no new page, and so would go on.
    drop(store.upkeep.lock().take());
    store.inspect(|conn| {
        conn.pragma_update(None, "max_page_count", 1).expect("the least that the file has");
    });
    while !refused(&store).await {}
    bench.clock.advance(OUTAGE);
    assert!(refused(&store).await, "the file cannot grow");
    store.inspect(|conn| conn.pragma_update(None, "max_page_count", 1 << 20).expect("there is room again"));
    assert_eq!(rescued(&world).await, 0);
    assert_eq!(expires_at(&world, id).await, end + OUTAGE);
}

#[tokio::test]
async fn a_restart_in_an_outage_extends_by_all_of_it() {
    let bench = Bench::new();
    let (store, world) = bench.open();
    let (id, end) = leased(&world).await;
    // With all noted that was committed, the file beside the database alone would say more.
    bench.clock.advance(Duration::from_secs(2));
    world.publish("acme", 1).await;
    let other = occupy(&bench, &store);
    assert!(refused(&store).await);
    bench.clock.advance(OUTAGE);
    store.writer.with(Writer::idle).expect("the store is open");
    drop((store, world));
    drop(other);
    let (_store, world) = bench.open();
    assert_eq!(expires_at(&world, id).await, end + OUTAGE);
}
