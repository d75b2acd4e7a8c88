//! One HTTP attempt, and nothing more of a receiver than it is owed.
//!
//! [`Sender::send`] posts one message to one [`Destination`] and tells what came of it: an [`Attempt`]. Connections are kept and
//! used again, by HTTP/1.1 one request at a time, by HTTP/2 many; every address is judged by the guard when it is connected to
//! and again whenever its connection is taken up. Whatever a receiver does costs at most the deadlines, 16 KiB of
//! headers and 4 KiB of body. Redirects are not followed, bodies not decompressed. Whether to try again, and when, is
//! somebody else's to decide.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use tidings_core::TenantId;
use tidings_guard::Connector;
use tokio::{
    task::AbortHandle,
    time::{Instant, interval},
};

mod answer;
mod attempt;
mod connections;
mod destination;
mod failed;
mod headers;
mod http1;
mod http2;
mod permit;
mod pool;
mod using;

pub use attempt::{Attempt, RetryAfter};
pub use destination::{Destination, DestinationError};
pub use headers::{HeaderTemplate, Stamp};

use answer::Answer;
use connections::Connection;
use failed::Failed;
use pool::Pool;

/// Bounds of the connections that are kept.
#[derive(Debug, Clone, Copy)]
pub struct SenderConfig {
    /// Open at once to one host (scheme, name and port). Beyond it, sending is [`Busy`], and over HTTP/1.1 for a tenant whose
    /// requests have as many of them as are left.
    pub per_host_max: usize,
    /// Open at once to all. Beyond it idle ones are closed, and where there are none, sending is [`Busy`].
    pub connections_max: usize,
    /// Kept without a request.
    pub idle_per_host_max: usize,
    /// How long without a request.
    pub idle: Duration,
    /// How long at all: a name may have moved.
    pub age_max: Duration,
}

impl Default for SenderConfig {
    fn default() -> Self {
        Self {
            per_host_max: 256,
            connections_max: 4096,
            idle_per_host_max: 64,
            idle: Duration::from_mins(1),
            age_max: Duration::from_mins(5),
        }
    }
}

/// One message on its way to one destination.
#[derive(Debug)]
pub struct Request<'a> {
    /// On whose behalf: tenants that call one host share its connections.
    pub tenant: &'a TenantId,
    pub destination: &'a Destination,
    /// From [`HeaderTemplate::stamp`].
    pub headers: HeaderMap,
    pub body: Bytes,
    pub timeouts: Timeouts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For resolving, connecting and TLS.
    pub connect: Duration,
    /// From the request's first byte to the answer's head.
    pub first_byte: Duration,
    /// For all of it.
    pub whole: Duration,
}

/// Nothing was sent, since as many connections are open as there may be. It counts as no attempt; try in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many connections are open as there may be")]
pub struct Busy;

/// Sends. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Sender(Arc<Shared>);

struct Shared {
    connector: Connector,
    pool: Arc<Pool>,
    upkeep: AbortHandle,
}

impl Sender {
    /// Within a tokio runtime, on which a task closes connections that nobody uses, until the last clone is dropped.
    pub fn new(connector: Connector, config: SenderConfig) -> Self {
        let pool = Arc::new(Pool::new(config));
        let upkeep = tokio::spawn(keep(Arc::clone(&pool), config.idle / 4)).abort_handle();
        Self(Arc::new(Shared { connector, pool, upkeep }))
    }

    /// Posts, and waits for the answer. An answer's status decides: with 2xx it was delivered, whatever becomes of the
    /// body, which is only for the delivery log.
    ///
    /// Where a kept connection is closed before the answer comes, as happens when both sides act at once, the request is sent once
    /// more on a new one.
    ///
    /// Dropping the future ends the attempt; the receiver may have got it.
    pub async fn send(&self, request: Request<'_>) -> Result<Attempt, Busy> {
        let (started, size) = (Instant::now(), request.body.len());
        let whole = started + request.timeouts.whole;
        let mut outcome = self.exchange(&request, whole, true).await?;
        if matches!(outcome, Err(Failed { stale: true, .. })) {
            outcome = self.exchange(&request, whole, false).await?;
        }
        Ok(Attempt::new(outcome, started.elapsed(), size))
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.0.pool.open()
    }

    async fn exchange(
        &self,
        request: &Request<'_>,
        whole: Instant,
        reuse: bool,
    ) -> Result<Result<Answer, Failed>, Busy> {
        let connection = match self.connection(request, whole, reuse).await? {
            Ok(connection) => connection,
            Err(failed) => return Ok(Err(failed)),
        };
        let head = (Instant::now() + request.timeouts.first_byte).min(whole);
        Ok(match connection {
            Connection::Http1(connection, reused, _using) => {
                let (outcome, connection) = connection.exchange(request, head, whole).await;
                if let Some(connection) = connection {
                    self.0.pool.put(request.destination.key(), connection, Instant::now());
                }
                outcome.map_err(|failed| failed.on(reused))
            }
            Connection::Http2(stream, reused) => {
                stream.exchange(request, head, whole).await.map_err(|failed| failed.on(reused))
            }
        })
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.upkeep.abort();
    }
}

async fn keep(pool: Arc<Pool>, every: Duration) {
    let mut ticks = interval(every.max(Duration::from_millis(10)));
    loop {
        ticks.tick().await;
        pool.sweep(Instant::now());
    }
}
