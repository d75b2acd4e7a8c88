//! What is this store's own; what every store does is in the conformance suite.

mod folder;
mod model;
mod outage;
mod schedules;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use tidings_core::{Clock, Entropy as _, JobType, SystemEntropy};

use super::{SqliteConfig, SqliteStore};
use crate::{
    OpenError, Store,
    conformance::{self, Fixture, World},
};

/// A folder of its own for a test, removed at its end.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 8];
        SystemEntropy.fill(&mut bytes);
        let path = std::env::temp_dir().join(format!("tidings-store-{:016x}", u64::from_le_bytes(bytes)));
        std::fs::create_dir_all(&path).expect("the temporary folder takes folders");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(SqliteConfig::new(path), clock, Arc::new(SystemEntropy))
}

/// Stores in folders of their own.
pub(crate) struct Folders(TempDir, std::sync::atomic::AtomicU32);

impl Folders {
    pub(crate) fn new() -> Self {
        Self(TempDir::new(), 0.into())
    }
}

#[async_trait]
impl Fixture for Folders {
    async fn open(&self, clock: Arc<dyn Clock>, concurrency: HashMap<JobType, u32>) -> Arc<dyn Store> {
        let n = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let config = SqliteConfig { concurrency, ..SqliteConfig::new(self.0.path().join(n.to_string())) };
        Arc::new(SqliteStore::open(config, clock, Arc::new(SystemEntropy)).expect("opens"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_while_all_its_readers_read() {
    let folder = TempDir::new();
    let store = Arc::new(open(folder.path(), Arc::new(tidings_core::SystemClock)).expect("opens"));
    let mut reads = Vec::new();
    for _ in 0..4 {
        let (inside, is_inside) = tokio::sync::oneshot::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let store = Arc::clone(&store);
        let read = async move {
            let wait = move |_: &rusqlite::Connection| {
                inside.send(()).expect("somebody waits");
                let _ = ended.recv();
                Ok(())
            };
            store.readers.read(wait).await
        };
        reads.push((end, tokio::spawn(read)));
        is_inside.await.expect("it reads");
    }
    store.answers().await.expect("it is there");
    for (end, read) in reads {
        drop(end);
        read.await.expect("no panic").expect("reads");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_conforms() {
    conformance::run(&Folders::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_move_from_one_embedded_store_to_another() {
    let folders = Folders::new();
    for name in ["target", "another"] {
        let (source, mut target) = (World::open(&folders).await, World::open(&folders).await);
        let store = Arc::new(open(&folders.0.path().join(name), target.clock.clone()).expect("opens"));
        target.store = Arc::clone(&store) as _;
        if name == "target" {
            conformance::tenants_move_with_their_numbers(source, target, store).await;
        } else {
            conformance::a_running_job_moves_with_the_rest_of_its_lease(source, target, store).await;
        }
    }
}
