//! The embedded store: one SQLite file in WAL mode, fully synchronous.
//!
//! - One [writer] thread has the only connection that changes anything; a batch is one transaction.
//! - A few [readers] run each page in a read transaction of its own, on blocking threads.
//! - A [checkpoint] thread moves the WAL into the file, so that commits do not wait for it.
//! - The [folder] is locked for this process, and a sidecar beside the database tells whether it was
//!   rewound.

mod apply;
mod checkpoint;
mod column;
mod event_row;
mod fault;
mod folder;
mod job_row;
mod open;
mod readers;
mod reads;
mod schema;
mod tenant;
#[cfg(test)]
mod tests;
mod txn;
mod writer;

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::AtomicU64,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use tidings_core::{Clock, Entropy, JobType};
use tokio::sync::oneshot;

use crate::{Batch, CommitError, Committed, OpenError};
use checkpoint::Checkpointer;
use folder::Folder;
use readers::Readers;
use txn::Memory;
use writer::{Message, Writer};

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
    readers: Readers,
    writer: Mutex<Option<Sender<Message>>>,
    clock: Arc<dyn Clock>,
    /// Taken down when the store goes: the checkpoint thread first, since the writer's connection is
    /// to be the last.
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    stop_checkpoints: Option<Sender<()>>,
    checkpointer: Option<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
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
        let commits = Arc::new(AtomicU64::new(0));
        let gate = checkpoint::Gate::default();
        let checkpointer = Checkpointer {
            conn: open::maintainer(&path)?,
            gate: Arc::clone(&gate),
            commits: Arc::clone(&commits),
        };
        let writer = Writer {
            conn,
            folder,
            config,
            clock: Arc::clone(&clock),
            entropy,
            memory: Memory::default(),
            noted,
            dirty: false,
            commits,
            gate,
            failed: false,
        };
        let (messages, inbox) = channel();
        let (stop_checkpoints, stopped) = channel();
        let threads = Threads {
            stop_checkpoints: Some(stop_checkpoints),
            checkpointer: Some(spawn("tidings-wal", stopped, move |stopped| checkpointer.run(stopped))?),
            writer: Some(spawn("tidings-log", inbox, move |inbox| writer.run(inbox))?),
        };
        Ok(Self { readers, writer: Mutex::new(Some(messages)), clock, threads: Mutex::new(threads) })
    }

    /// Finishes the commit in flight, notes the orderly end and closes the files. Later calls on the
    /// store fail as unavailable; closing again does nothing.
    pub async fn close(&self) {
        let Some(messages) = self.writer.lock().take() else { return };
        self.readers.close().await;
        self.threads.lock().stop_checkpoints();
        let (reply, closed) = oneshot::channel();
        if messages.send(Message::Close(reply)).is_ok() {
            let _ = closed.await;
        }
        drop(messages);
        self.threads.lock().join_writer();
    }

    async fn commit_batch(&self, batch: Batch) -> Result<Committed, CommitError> {
        let (reply, outcome) = oneshot::channel();
        let sent = match &*self.writer.lock() {
            Some(messages) => messages.send(Message::Commit(batch, reply)).is_ok(),
            None => false,
        };
        if !sent {
            return Err(CommitError::Unavailable("the store is closed".into()));
        }
        outcome.await.unwrap_or_else(|_| Err(CommitError::Unknown("the writer stopped".into())))
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    inbox: Receiver<T>,
    run: impl FnOnce(&Receiver<T>) + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || run(&inbox))
        .map_err(|source| OpenError::Io { path: name.to_owned(), source })
}

impl Threads {
    fn stop_checkpoints(&mut self) {
        self.stop_checkpoints = None;
        join(self.checkpointer.take());
    }

    fn join_writer(&mut self) {
        join(self.writer.take());
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread
        && thread.join().is_err()
    {
        tracing::error!("a thread of the store panicked");
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        let threads = self.threads.get_mut();
        threads.stop_checkpoints();
        *self.writer.get_mut() = None;
        threads.join_writer();
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}
