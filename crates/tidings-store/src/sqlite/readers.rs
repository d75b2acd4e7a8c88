//! Connections that only read, few of them, off the async threads.

use std::{path::Path, sync::Arc};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::open;
use crate::{OpenError, ReadError};

#[derive(Debug, Clone)]
pub(super) struct Readers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    idle: Mutex<Vec<Connection>>,
    /// One permit for each connection: who gets one finds an idle connection.
    free: Semaphore,
    count: u32,
}

impl Readers {
    pub(super) fn open(path: &Path, count: usize) -> Result<Self, OpenError> {
        let idle: Vec<_> = (0..count.max(1)).map(|_| open::reader(path)).collect::<Result<_, _>>()?;
        let count = idle.len();
        Ok(Self(Arc::new(Shared {
            idle: Mutex::new(idle),
            free: Semaphore::new(count),
            count: count as u32,
        })))
    }

    /// Runs `read` in one read transaction on a blocking thread; waits for a free connection.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let closed = || ReadError::Unavailable("the store is closed".into());
        let shared = Arc::clone(&self.0);
        let permit = shared.free.acquire().await.map_err(|_| closed())?;
        // The permit goes on with the blocking thread, which outlives a caller that gives up.
        permit.forget();
        let lent = Lent::take(Arc::clone(&self.0));
        let done = tokio::task::spawn_blocking(move || {
            let tx = lent.connection().unchecked_transaction()?;
            let value = read(&tx)?;
            tx.finish()?;
            Ok::<_, rusqlite::Error>(value)
        });
        match done.await {
            Ok(value) => Ok(value?),
            Err(error) => Err(ReadError::Unavailable(error.to_string())),
        }
    }

    /// Waits for the reads that run, refuses more, and closes the connections.
    pub(super) async fn close(&self) {
        if let Ok(all) = self.0.free.acquire_many(self.0.count).await {
            all.forget();
            self.0.free.close();
            self.0.idle.lock().clear();
        }
    }
}

/// A connection that goes back to the pool however its reading ends.
struct Lent {
    shared: Arc<Shared>,
    conn: Option<Connection>,
}

impl Lent {
    fn take(shared: Arc<Shared>) -> Self {
        let conn = shared.idle.lock().pop();
        Self { shared, conn }
    }

    fn connection(&self) -> &Connection {
        self.conn.as_ref().expect("a permit stands for an idle connection")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.shared.idle.lock().extend(self.conn.take());
        self.shared.free.add_permits(1);
    }
}
