//! Connections: a bounded number, each for one statement at a time. Statements are typed and unnamed, so that
//! any pooler may stand between.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool as Connections, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::{
    Row,
    error::SqlState,
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    fault::{Fault, told},
    url::Target,
};
use crate::OpenError;

/// A parameter with its type.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

#[derive(Clone)]
pub(super) struct Pool {
    connections: Connections,
    tls: MakeRustlsConnect,
    /// How long a statement may take before it is cancelled.
    timeout: Duration,
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
        let connections = Connections::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(connect_timeout),
                create: Some(connect_timeout),
                recycle: Some(connect_timeout),
            })
            .build()
            .map_err(|error| OpenError::Database(told(&error)))?;
        Ok(Self { connections, tls, timeout, place: target.place().into() })
    }

    /// Waits for a connection no longer than it may take to open one.
    pub(super) async fn connection(&self) -> Result<Object, Fault> {
        self.connections.get().await.map_err(|error| Fault::Unsent(told(&error)))
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
        match tokio::time::timeout(timeout, client.query_typed(sql, parameters)).await {
            Ok(result) => {
                guard.give_back();
                result.map_err(|error| Fault::of(&error))
            }
            Err(_) => Err(Fault::Late(format!("no answer within {timeout:?}"))),
        }
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

/// It was reached, and neither starting up nor full.
fn refuses(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| *code != SqlState::CANNOT_CONNECT_NOW && *code != SqlState::TOO_MANY_CONNECTIONS)
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
