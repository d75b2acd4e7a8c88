//! Connections that only read, few of them, off the async threads.

use std::{path::Path, sync::Arc};

use parking_lot::Mutex;
use rusqlite::Connection;
use tidings_core::TenantId;

use super::{
    open,
    tenant::{self, Tenant},
};
use crate::{
    OpenError, ReadError,
    permits::{Permit, Permits, Whose},
};

#[derive(Debug, Clone)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    /// One for each connection: who gets one finds an idle connection.
    permits: Permits,
}

impl Readers {
    pub(super) fn open(path: &Path, count: usize) -> Result<Self, OpenError> {
        let idle: Vec<_> = (0..count.max(1)).map(|_| open::reader(path)).collect::<Result<_, _>>()?;
        let permits = Permits::new(idle.len());
        Ok(Self { idle: Arc::new(Mutex::new(idle)), permits })
    }

    /// Runs `read` in one read transaction on a blocking thread; waits for a free connection when it is the node's turn.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.read_for(Whose::Node, read).await
    }

    /// The same within a tenant, where it exists, when it is the tenant's turn.
    pub(super) async fn read_in<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        read: impl FnOnce(&Connection, &Tenant) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Option<T>, ReadError> {
        let id = tenant.clone();
        let read =
            move |conn: &Connection| tenant::find(conn, &id)?.map(|tenant| read(conn, &tenant)).transpose();
        self.read_for(Whose::Tenant(tenant.clone()), read).await
    }

    pub(super) async fn read_for<T: Send + 'static>(
        &self,
        whose: Whose,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let closed = || ReadError::Unavailable("the store is closed".into());
        let permit = self.permits.acquire(whose).await.ok_or_else(closed)?;
        // Both go on with the blocking thread, which outlives a caller that gives up.
        let lent = Lent::take(Arc::clone(&self.idle), permit);
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
        self.permits.close().await;
        self.idle.lock().clear();
    }
}

/// A connection that goes back to the pool however its reading ends, and then its permit.
struct Lent {
    idle: Arc<Mutex<Vec<Connection>>>,
    conn: Option<Connection>,
    _permit: Permit,
}

impl Lent {
    fn take(idle: Arc<Mutex<Vec<Connection>>>, permit: Permit) -> Self {
        let conn = idle.lock().pop();
        Self { idle, conn, _permit: permit }
    }

    fn connection(&self) -> &Connection {
        self.conn.as_ref().expect("a permit stands for an idle connection")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.idle.lock().extend(self.conn.take());
    }
}
