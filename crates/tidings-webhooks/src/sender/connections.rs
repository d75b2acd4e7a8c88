//! Taking up a kept connection, or making one.

use std::sync::Arc;

use tidings_core::webhook::AttemptFailure;
use tidings_guard::Stream;
use tokio::time::{Instant, timeout_at};

use super::{
    Busy, Request, Sender,
    failed::Failed,
    http1::Http1,
    http2::{self, Http2},
    permit::Permit,
    pool::Found,
    using::Using,
};

/// And whether it had been kept.
pub(super) enum Connection<'a> {
    Http1(Box<Http1>, bool, Using<'a>),
    Http2(http2::Stream, bool),
}

impl Sender {
    pub(super) async fn connection<'a>(
        &'a self,
        request: &'a Request<'_>,
        whole: Instant,
        reuse: bool,
    ) -> Result<Result<Connection<'a>, Failed>, Busy> {
        let place = (request.destination.key(), request.tenant);
        let target = request.destination.target();
        loop {
            let permitted = |peer| self.0.connector.permits(target, peer);
            match self.0.pool.find(place, reuse, permitted) {
                // Each look takes one out, so that this ends.
                Found::Http1(mut connection, using) => {
                    if connection.is_ready().await {
                        return Ok(Ok(Connection::Http1(connection, true, using)));
                    }
                }
                Found::Http2(stream) => return Ok(Ok(Connection::Http2(stream, true))),
                Found::Room(permit, using) => return Ok(self.connect(request, whole, permit, using).await),
                Found::Full => return Err(Busy),
            }
        }
    }

    async fn connect<'a>(
        &'a self,
        request: &Request<'_>,
        whole: Instant,
        permit: Permit,
        using: Using<'a>,
    ) -> Result<Connection<'a>, Failed> {
        let destination = request.destination;
        let deadline = (Instant::now() + request.timeouts.connect).min(whole);
        let within = deadline.saturating_duration_since(Instant::now());
        let stream = self.0.connector.connect(destination.target(), within).await;
        let stream = stream.map_err(|error| Failed::connecting(&error, destination.is_literal()))?;
        timeout_at(deadline, self.greet(request, stream, permit, using)).await.unwrap_or(Err(Failed::TIMEOUT))
    }

    async fn greet<'a>(
        &'a self,
        request: &Request<'_>,
        stream: Stream,
        permit: Permit,
        using: Using<'a>,
    ) -> Result<Connection<'a>, Failed> {
        if !stream.is_http2() {
            let connection = Http1::new(stream, permit).await.map_err(|error| Failed::http1(&error))?;
            return Ok(Connection::Http1(Box::new(connection), false, using));
        }
        // Many may have set out at once for a host that they knew nothing of: one connection is enough for all.
        if let Some(stream) = self.0.pool.shared(request.destination.key()) {
            return Ok(Connection::Http2(stream, true));
        }
        let connection = Arc::new(Http2::new(stream, permit).await.map_err(|error| Failed::http2(&error))?);
        let stream = Http2::stream(&connection).ok_or(Failed::new(AttemptFailure::Internal))?;
        self.0.pool.share(request.destination.key(), connection);
        Ok(Connection::Http2(stream, false))
    }
}
