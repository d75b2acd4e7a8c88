//! What is this store's own; what every store does is in the conformance suite. One server serves all tests of this
//! process, each with a database of its own.

mod schedules;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use async_trait::async_trait;
use tidings_core::{Clock, JobType, SystemEntropy};
use tidings_testkit::Postgres;

use super::{PostgresConfig, PostgresStore, StoreClock};
use crate::{
    Store,
    conformance::{self, Fixture},
};

static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);

async fn open(config: PostgresConfig) -> PostgresStore {
    PostgresStore::open(config, Arc::new(SystemEntropy)).await.expect("opens")
}

/// Stores on databases of their own.
struct Databases;

#[async_trait]
impl Fixture for Databases {
    async fn open(&self, clock: Arc<dyn Clock>, concurrency: HashMap<JobType, u32>) -> Arc<dyn Store> {
        let config = PostgresConfig {
            concurrency,
            clock: StoreClock::Injected(clock),
            connections: 6,
            ..PostgresConfig::new(SERVER.fresh_database())
        };
        Arc::new(open(config).await)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_postgres_store_conforms() {
    conformance::run(&Databases).await;
}
