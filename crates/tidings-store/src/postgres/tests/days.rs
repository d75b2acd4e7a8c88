//! The log's partitions, one for each day.

use std::time::Duration;

use super::*;
use crate::{
    CommitSink, Journal, JournalConfig, Maintain, Outcome, Retention,
    conformance::{ManualClock, World},
};

const DAY: Duration = Duration::from_hours(24);

async fn retain(world: &World, age: Duration) {
    loop {
        let retention = Retention::of_log(Some(age), None);
        match world.run(Command::Maintain(Maintain::Retain { retention, limit: 500 })).await {
            Ok(Outcome::Swept(swept)) if swept.more => {}
            Ok(Outcome::Swept(_)) => return,
            other => panic!("answered {other:?}"),
        }
    }
}

fn count(name: &str, sql: &str) -> u64 {
    SERVER.psql(name, sql).trim().parse().expect("a number")
}

const DAYS: &str = "SELECT count(*) FROM pg_class WHERE relname ~ '^events_[0-9]{8}$' AND relkind = 'r'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_every_floor_has_passed_goes_whole_and_a_missing_one_is_made() {
    let (name, url) = named_database();
    let clock = Arc::new(ManualClock::default());
    let config =
        PostgresConfig { clock: StoreClock::Injected(Arc::clone(&clock) as _), ..PostgresConfig::new(url) };
    let store = open(config).await;
    let world = World { store: Arc::new(store.clone()), clock: Arc::clone(&clock) };
    world.publish("acme", 3).await;
    world.publish("quiet", 2).await;
    let first_days = count(&name, DAYS);
    // Nobody made the days ahead: the row that finds none does.
    clock.advance(DAY * 10);
    world.publish("acme", 2).await;
    assert!(count(&name, DAYS) > first_days);
    let page = log_of(&store, "acme").await;
    assert_eq!(
        page.iter().map(|event| event.seq.get()).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5],
        "over all days"
    );

    retain(&world, DAY * 7).await;
    assert_eq!(log_of(&store, "acme").await.len(), 2);
    assert!(log_of(&store, "quiet").await.is_empty());
    assert_eq!(count(&name, "SELECT count(*) FROM tidings.events"), 2, "the old rows went with their day");
    let oldest = SERVER.psql(&name, "SELECT min(relname) FROM pg_class WHERE relname ~ '^events_[0-9]{8}$'");
    assert!(oldest.trim() > "events_20270115", "{oldest}");
    let days = count(&name, DAYS);
    retain(&world, DAY * 7).await;
    assert_eq!(count(&name, DAYS), days, "what is kept stays");
    world.publish("quiet", 1).await;
    assert_eq!(log_of(&store, "quiet").await[0].seq.get(), 3);
}

struct Nobody;

impl CommitSink for Nobody {
    fn committed(&self, _: &[Arc<Event>], _: &[(tidings_core::TenantId, tidings_core::Epoch)]) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_is_still_read_holds_nobody_up() {
    let (name, url) = named_database();
    let clock = Arc::new(ManualClock::default());
    let config = PostgresConfig {
        clock: StoreClock::Injected(Arc::clone(&clock) as _),
        lanes: 2,
        ..PostgresConfig::new(&url)
    };
    let store = open(config).await;
    let world = World { store: Arc::new(store.clone()), clock: Arc::clone(&clock) };
    world.publish("acme", 3).await;
    clock.advance(DAY * 10);
    world.publish("acme", 1).await;
    let days = count(&name, DAYS);
    // As a dump does.
    let (reader, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("connects");
    tokio::spawn(connection);
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tidings.events")
        .await
        .expect("reads");
    let journal = Journal::start(Arc::new(store.clone()), Arc::new(Nobody), JournalConfig::default());
    let retaining = tokio::spawn({
        let journal = journal.clone();
        async move {
            let retention = Retention::of_log(Some(DAY * 7), None);
            journal.submit(Command::Maintain(Maintain::Retain { retention, limit: 500 })).await
        }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE tidings.events DETACH%' AND state = 'active'";
    while count(&name, waits) == 0 {
        assert!(!retaining.is_finished(), "nothing was waited for");
        tokio::task::yield_now().await;
    }
    for n in 0..8 {
        journal.submit(publish(&format!("tenant-{n}"), 1)).await.expect("committed");
    }
    assert_eq!(count(&name, waits), 1, "meanwhile it waited");
    reader.batch_execute("COMMIT").await.expect("ends");
    retaining.await.expect("ends").expect("retained");
    retain(&world, DAY * 7).await;
    assert!(count(&name, DAYS) < days, "the days went");
    journal.close().await;
}
