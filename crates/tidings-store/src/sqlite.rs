//! The embedded store: one SQLite file in WAL mode, fully synchronous.
//!
//! - One [writer] has the only connection that changes anything; a batch is one transaction, which runs on
//!   the thread of whoever commits it: the journal's one lane.
//! - A few [readers] run each page in a read transaction of its own, on blocking threads.
//! - A thread for [upkeep] moves the WAL into the file, so that commits do not wait for it.
//! - The [folder] is locked for this process, and a sidecar beside the database tells whether it was
//!   rewound.

mod apply;
mod column;
mod delivery_row;
mod endpoint_row;
mod event_row;
mod fault;
mod folder;
mod import;
mod job_row;
mod open;
mod readers;
mod reads;
mod schedule_row;
mod schema;
mod tenant;
#[cfg(test)]
pub(crate) mod tests;
mod txn;
mod upkeep;
mod webhooks;
mod writer;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use tidings_core::{Clock, Entropy, JobType};

use crate::{Batch, CommitError, Committed, OpenError, Schema, concurrency::Concurrency};
use folder::Folder;
use readers::Readers;
use txn::Memory;
use upkeep::Upkeep;
use writer::{Seat, Writer};

#[derive(Clone)]
pub struct SqliteConfig {
    /// The data folder; made with mode 0700 where it is missing.
    pub path: PathBuf,
    /// How many reads run at once.
    pub readers: usize,
    /// At most so many jobs of a type run at once in each tenant.
    pub concurrency: HashMap<JobType, u32>,
    /// Called when the database can no longer be trusted. It is not meant to return: the log never
    /// guesses. Where it does, every later commit is refused.
    pub on_fatal: fn(&str),
}

impl SqliteConfig {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: 4, concurrency: HashMap::new(), on_fatal: abort }
    }
}

impl fmt::Debug for SqliteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteConfig")
            .field("path", &self.path)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

fn abort(message: &str) {
    tracing::error!("{message}; stopping, since what is committed can no longer be told");
    eprintln!("tidings: {message}; stopping, since what is committed can no longer be told");
    std::process::abort();
}

/// The embedded store. [`close`](Self::close) ends it in order; dropping it leaves the folder as a
/// killed process would.
pub struct SqliteStore {
    /// Ends before the writer does, whose connection is to be the last.
    upkeep: Mutex<Option<Upkeep>>,
    readers: Readers,
    /// One beside them: whether the store answers is no matter of how much is read.
    probe: Readers,
    writer: Seat,
    concurrency: Concurrency,
    clock: Arc<dyn Clock>,
}

impl SqliteStore {
    /// Opens the data folder and brings its schema up to date. Blocks on the disk.
    pub fn open(
        config: SqliteConfig,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, OpenError> {
        open::check_engine()?;
        let folder = Folder::open(&config.path)?;
        let path = folder.database();
        let mut conn = open::writer(&path)?;
        let noted = open::reconcile(&mut conn, &folder, &*clock, &*entropy)?;
        let readers = Readers::open(&path, config.readers)?;
        let probe = Readers::open(&path, 1)?;
        let concurrency = Concurrency::new(config.concurrency);
        let writer = Seat::new(Writer {
            conn,
            folder,
            on_fatal: config.on_fatal,
            concurrency: concurrency.clone(),
            clock: Arc::clone(&clock),
            entropy,
            memory: Memory::default(),
            noted,
            dirty: false,
            outage: false,
            commits: 0,
            failed: false,
        });
        let upkeep = Mutex::new(Some(Upkeep::start(open::maintainer(&path)?, writer.clone())?));
        Ok(Self { upkeep, readers, probe, writer, concurrency, clock })
    }

    /// How far the schema in a data folder is; changes nothing, and takes no lock. Blocks on the disk.
    pub fn schema(data: &Path) -> Result<Schema, OpenError> {
        schema::of(&folder::database(data))
    }

    /// Finishes the commit in flight, notes the orderly end and closes the files. Later calls on the
    /// store fail as unavailable; closing again does nothing.
    pub async fn close(&self) {
        let seat = self.writer.clone();
        let Some(writer) = blocking(move || seat.vacate()).await.flatten() else { return };
        self.readers.close().await;
        self.probe.close().await;
        let upkeep = self.upkeep.lock().take();
        blocking(move || {
            drop(upkeep);
            writer.close();
        })
        .await;
    }

    /// Blocks until the batch is on the disk.
    fn commit_batch(&self, batch: &Batch) -> Result<Committed, CommitError> {
        let closed = || Err(CommitError::Unavailable("the store is closed".into()));
        self.writer.with(|writer| writer.commit(batch)).unwrap_or_else(closed)
    }

    /// Shows the writer's connection to a test.
    #[cfg(test)]
    fn inspect(&self, look: impl FnOnce(&rusqlite::Connection)) {
        self.writer.with(|writer| look(&writer.conn)).expect("the store is open");
    }
}

/// Runs what waits for the disk beside the runtime. `None`: it panicked, or the runtime is going down.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await;
    if let Err(error) = &done {
        tracing::error!(%error, "closing the store failed");
    }
    done.ok()
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}
