//! Connections: a bounded number, each for one statement at a time.
//!
//! The database parses and plans a statement once for each connection where the session behind it is the node's
//! own. Where a pooler shares its sessions, or may do so, statements are unnamed, and nothing is left behind in
//! a session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool as Connections, PoolError,
    RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::{
    Error, Row,
    error::SqlState,
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    fault::{Fault, told},
    url::{OWN_SESSION, Target},
};
use crate::{
    OpenError,
    permits::{Permits, Whose},
};

/// Between two tries for a connection where the database gives no more of them.
const PAUSE: Duration = Duration::from_millis(20);

/// A parameter with its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

#[derive(Clone)]
pub(super) struct Pool {
    connections: Connections,
    /// One for each connection, for those who take turns.
    permits: Permits,
    tls: MakeRustlsConnect,
    /// How long a connection is waited for.
    patience: Duration,
    /// How long a statement may take before it is cancelled.
    timeout: Duration,
    /// Whose idle connections go where the database gives this pool none.
    lender: Option<Connections>,
    /// The database gave fewer than may be opened; it has been said.
    crowded: Arc<AtomicBool>,
    /// Every session so far is this node's own.
    prepares: Arc<AtomicBool>,
    /// Host and database, for people.
    place: Arc<str>,
}

impl Pool {
    pub(super) fn new(
        target: &Target,
        tls: MakeRustlsConnect,
        size: usize,
        connect_timeout: Duration,
        timeout: Duration,
    ) -> Result<Self, OpenError> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(target.driver.clone(), tls.clone(), config);
        let prepares = Arc::new(AtomicBool::new(true));
        let connections = Connections::builder(manager)
            .max_size(size)
            .post_create(look_at_session(Arc::clone(&prepares)))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(connect_timeout),
                create: Some(connect_timeout),
                recycle: Some(connect_timeout),
            })
            .build()
            .map_err(|error| OpenError::Database(told(&error)))?;
        Ok(Self {
            connections,
            permits: Permits::new(size),
            tls,
            patience: connect_timeout,
            timeout,
            lender: None,
            crowded: Arc::default(),
            prepares,
            place: target.place().into(),
        })
    }

    /// Takes what the database refuses it from another pool.
    pub(super) fn borrowing_from(self, lender: &Self) -> Self {
        Self { lender: Some(lender.connections.clone()), ..self }
    }

    /// Waits for a connection no longer than it may take to open one. Where the database has no more to give, it waits
    /// for one that is there.
    pub(super) async fn connection(&self) -> Result<Object, Fault> {
        let until = Instant::now() + self.patience;
        loop {
            // The pool limits what it waits for itself, but not what a new connection is asked first.
            let asked = tokio::time::timeout(self.patience, self.connections.get()).await;
            match asked.map_err(|_| Fault::Unsent(format!("no connection within {:?}", self.patience)))? {
                Err(PoolError::Backend(error)) if is_full(&error) && Instant::now() < until => {
                    self.make_room(&error);
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result.map_err(|error| Fault::Unsent(told(&error))),
            }
        }
    }

    fn make_room(&self, error: &Error) {
        if !self.crowded.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                cause = told(error),
                "the database gives this node fewer connections than postgres.connections says: it makes do with those, \
                 and is slower for it"
            );
        }
        if let Some(lender) = &self.lender {
            let mut taken = false;
            lender.retain(|_, _| std::mem::replace(&mut taken, true));
        }
    }

    /// The first connection: says whether the database cannot be reached or does not let us in.
    pub(super) async fn first(&self) -> Result<Object, OpenError> {
        self.connections.get().await.map_err(|error| {
            let (place, cause) = (self.place.to_string(), told(&error));
            match &error {
                PoolError::Backend(backend) if refuses(backend) => {
                    OpenError::Database(format!("the database at {place} refuses the connection: {cause}"))
                }
                _ => OpenError::Unreachable { place, cause },
            }
        })
    }

    pub(super) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Fault> {
        let connection = self.connection().await?;
        self.query_on(connection, sql, parameters, self.timeout).await
    }

    /// The same when it is its turn, for which it waits no longer than for a connection.
    pub(super) async fn query_in_turn(
        &self,
        whose: Whose,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Fault> {
        let unsent = || Fault::Unsent(format!("no connection within {:?}", self.patience));
        let permit = tokio::time::timeout(self.patience, self.permits.acquire(whose)).await;
        let _permit = permit.map_err(|_| unsent())?;
        self.query(sql, parameters).await
    }

    /// What is still running after `timeout` is cancelled, and its connection goes: nobody else may read the
    /// answer that it owes.
    pub(super) async fn query_on(
        &self,
        connection: Object,
        sql: &str,
        parameters: &[Parameter<'_>],
        timeout: Duration,
    ) -> Result<Vec<Row>, Fault> {
        let guard = Guard { connection: Some(connection), tls: &self.tls };
        let client = guard.connection.as_ref().expect("a guard has its connection until its end");
        match tokio::time::timeout(timeout, self.ask(client, sql, parameters)).await {
            Ok(result) => {
                guard.give_back();
                result.map_err(|error| Fault::of(&error))
            }
            Err(_) => Err(Fault::Late(format!("no answer within {timeout:?}"))),
        }
    }

    async fn ask(&self, client: &Object, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Error> {
        if parameters.is_empty() || !self.prepares.load(Ordering::Relaxed) {
            return client.query_typed(sql, parameters).await;
        }
        let (values, types): (Vec<_>, Vec<_>) = parameters.iter().cloned().unzip();
        let prepared = async {
            let statement = client.prepare_typed_cached(sql, &types).await?;
            client.query(&statement, &values).await
        };
        match prepared.await {
            Err(error) if is_outdated(&error) => {
                client.statement_cache.clear();
                client.query_typed(sql, parameters).await
            }
            result => result,
        }
    }

    #[cfg(test)]
    pub(super) fn prepares(&self) -> bool {
        self.prepares.load(Ordering::Relaxed)
    }

    /// Runs statements that are no part of a transaction.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), Fault> {
        let connection = self.connection().await?;
        let guard = Guard { connection: Some(connection), tls: &self.tls };
        let client = guard.connection.as_ref().expect("a guard has its connection until its end");
        match tokio::time::timeout(self.timeout, client.batch_execute(sql)).await {
            Ok(result) => {
                guard.give_back();
                result.map_err(|error| Fault::of(&error))
            }
            Err(_) => Err(Fault::Late(format!("no answer within {:?}", self.timeout))),
        }
    }

    pub(super) fn close(&self) {
        self.connections.close();
    }
}

/// Asks each new connection whether it is the session that its own first words began: the database then knows what
/// they set. A pooler that lends its sessions out has begun them itself. In a session of its own, a commit that is
/// answered is on disk whatever the database's default says.
fn look_at_session(prepares: Arc<AtomicBool>) -> Hook {
    Hook::async_fn(move |client: &mut ClientWrapper, _| {
        let prepares = Arc::clone(&prepares);
        Box::pin(async move {
            let asked =
                "SELECT current_setting('tidings.session', true), current_setting('synchronous_commit')";
            let rows = client.query_typed(asked, &[]).await.map_err(HookError::Backend)?;
            let answer: Option<(Option<&str>, &str)> = rows.first().map(|row| (row.get(0), row.get(1)));
            match answer {
                Some((Some(OWN_SESSION), "off")) => {
                    client.batch_execute("SET synchronous_commit = on").await.map_err(HookError::Backend)?;
                }
                Some((Some(OWN_SESSION), _)) => {}
                _ => prepares.store(false, Ordering::Relaxed),
            }
            Ok(())
        })
    })
}

/// The statement that was prepared is gone, or returns something else since the schema changed. Nothing was done.
fn is_outdated(error: &Error) -> bool {
    let gone = |code: &SqlState| {
        [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::FEATURE_NOT_SUPPORTED].contains(code)
    };
    error.code().is_some_and(gone)
}

/// It was reached, and neither starting up nor full.
fn refuses(error: &Error) -> bool {
    error.code().is_some_and(|code| *code != SqlState::CANNOT_CONNECT_NOW) && !is_full(error)
}

fn is_full(error: &Error) -> bool {
    error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS)
}

/// A connection that a statement runs on. Dropped before its answer came, also since the caller went away, it
/// cancels the statement and takes the connection out of the pool.
struct Guard<'p> {
    connection: Option<Object>,
    tls: &'p MakeRustlsConnect,
}

impl Guard<'_> {
    fn give_back(mut self) {
        self.connection = None;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let (cancel, tls) = (connection.cancel_token(), self.tls.clone());
        drop(Object::take(connection));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = tokio::time::timeout(Duration::from_secs(1), cancel.cancel_query(tls)).await;
            });
        }
    }
}
