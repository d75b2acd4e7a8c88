//! What is this store's own; what every store does is in the conformance suite. One server serves all tests of this
//! process, each with a database of its own.

mod advance;
mod days;
mod doubt;
mod formats;
mod history;
mod isolation;
mod many;
mod outbox;
mod plans;
mod schedules;
mod sessions;
mod shared;
mod starting;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use async_trait::async_trait;
use tidings_core::{Clock, Event, JobType, NewJob, RawJson, Seq, SystemEntropy, Timestamp, job::JobSpec};
use tidings_testkit::{PgBouncer, Postgres};
use tokio::sync::OnceCell;

use super::{PostgresConfig, PostgresStore, StoreClock};
use crate::{
    Batch, Command, OpenError, Operation, PageLimit, Store,
    conformance::{self, Fixture, World, event, in_tenant, job_id, tenant_id},
    sqlite::tests::Folders,
};

static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);
static POOLER: LazyLock<PgBouncer> = LazyLock::new(|| PgBouncer::start(&SERVER));

const LATE: Timestamp = Timestamp::from_secs(4_000_000_000);

async fn open(config: PostgresConfig) -> PostgresStore {
    PostgresStore::open(config, Arc::new(SystemEntropy)).await.expect("opens")
}

/// An empty database: its name and its URL.
fn named_database() -> (String, String) {
    let url = SERVER.fresh_database();
    let (_, name) = url.rsplit_once('/').expect("a URL names its database");
    (name.to_owned(), url)
}

fn publish(tenant: &str, count: usize) -> Command {
    let events = (0..count).map(|_| event("1")).collect();
    in_tenant(tenant, Operation::Publish { events, idempotency: None })
}

fn of_type(text: &str) -> NewJob {
    let job_type = JobType::new(text).expect("valid");
    NewJob { id: job_id(), spec: JobSpec::new(job_type, RawJson::empty_object()), run_at: None }
}

/// The whole log.
async fn log_of(store: &PostgresStore, tenant: &str) -> Vec<Event> {
    let limit = PageLimit { events: 100_000, bytes: 1 << 30 };
    let page = store.events(&tenant_id(tenant), Seq::ZERO, limit).await.expect("reads");
    page.expect("the tenant exists").events
}

/// Stores on databases of their own, which are copies of one that was migrated.
struct Databases {
    pooled: bool,
}

#[async_trait]
impl Fixture for Databases {
    async fn open(&self, clock: Arc<dyn Clock>, concurrency: HashMap<JobType, u32>) -> Arc<dyn Store> {
        static MODEL: OnceCell<String> = OnceCell::const_new();
        static COPIES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let model = MODEL
            .get_or_init(|| async {
                let (name, url) = named_database();
                PostgresStore::migrate(&PostgresConfig::new(url)).await.expect("migrates");
                name
            })
            .await;
        let name = format!("copy_{}", COPIES.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        SERVER.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE \"{model}\""));
        let url = if self.pooled { POOLER.url(&name) } else { SERVER.url_at(SERVER.addr(), &name) };
        let clock = StoreClock::Injected(clock);
        let config = PostgresConfig { concurrency, clock, connections: 6, ..PostgresConfig::new(url) };
        Arc::new(open(config).await)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_postgres_store_conforms() {
    conformance::run(&Databases { pooled: false }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_behind_a_pooler_in_transaction_mode() {
    conformance::run(&Databases { pooled: true }).await;
}

/// An embedded store's world, an empty database's, and the database as what takes an archive in.
async fn movers() -> (World, World, Arc<PostgresStore>) {
    let (source, mut target) =
        (World::open(&Folders::new()).await, World::open(&Databases { pooled: false }).await);
    let clock = StoreClock::Injected(target.clock.clone());
    let store = Arc::new(
        open(PostgresConfig { clock, connections: 6, ..PostgresConfig::new(SERVER.fresh_database()) }).await,
    );
    target.store = Arc::clone(&store) as _;
    (source, target, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_stores_tenants_move_in() {
    let (source, target, store) = movers().await;
    conformance::tenants_move_with_their_numbers(source, target, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_stores_running_jobs_move_in() {
    let (source, target, store) = movers().await;
    conformance::a_running_job_moves_with_the_rest_of_its_lease(source, target, store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_after_an_outage() {
    let (source, target, store) = movers().await;
    conformance::an_import_goes_on_where_an_outage_moved_leases(source, target, store).await;
}

/// The suite's stores are given a clock; a server's read the database's, and as the role that may do least.
#[tokio::test]
async fn queues_are_counted_by_the_databases_clock() {
    let store = open(PostgresConfig { connections: 6, ..PostgresConfig::new(SERVER.fresh_database()) }).await;
    let enqueue = Operation::Enqueue { jobs: vec![of_type("work")], idempotency: None };
    let batch = Batch { commands: vec![in_tenant("acme", enqueue)] };
    assert!(store.commit(0, &batch).await.expect("commits").outcomes[0].is_ok());
    let queues = store.queues(&tenant_id("acme")).await.expect("reads");
    assert_eq!(queues.iter().map(|queue| queue.queued).collect::<Vec<_>>(), [1]);
}
