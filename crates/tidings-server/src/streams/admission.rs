use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{extract::FromRequestParts, http::request::Parts};
use tidings_core::Entropy;
use tidings_delivery::{ConnectionId, ConnectionKind, Delivery};

use crate::{
    metrics::Metrics,
    problem::{Kind, Problem},
    settings::Settings,
};

/// Where streams are begun: knows how many there are.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(super) delivery: Delivery,
    open: Arc<AtomicUsize>,
    settings: Settings,
    metrics: Metrics,
    entropy: Arc<dyn Entropy>,
}

/// A connection's place under the limit, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Desk {
    pub(crate) fn new(
        delivery: Delivery,
        settings: Settings,
        metrics: Metrics,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { delivery, open: Arc::default(), settings, metrics, entropy }
    }

    /// A place for one more, unless the server is full or stops.
    pub(super) fn admit(&self) -> Result<Place, Problem> {
        const SOON: Duration = Duration::from_secs(2);
        if self.delivery.is_draining() {
            let detail =
                "The server is stopping. Another one, or this one restarted, will take the connection.";
            return Err(Problem::new(Kind::Draining, detail).retry_after(SOON));
        }
        let max = self.settings.get().limits.connections;
        let place = Place(self.open.clone());
        if self.open.fetch_add(1, Ordering::AcqRel) < max {
            return Ok(place);
        }
        let detail =
            format!("This server takes {max} live connections (limits.connections), and they are all taken.");
        Err(Problem::new(Kind::TooManyConnections, detail).retry_after(SOON))
    }

    pub(super) fn new_id(&self) -> ConnectionId {
        ConnectionId::generate(&*self.entropy)
    }

    /// Counts a stream that did not begin.
    pub(super) fn refused(&self, kind: ConnectionKind, problem: &Problem) {
        self.metrics.streams(kind).rejected(match problem.kind() {
            Kind::Unauthorized => "auth_fail",
            Kind::Forbidden | Kind::TenantSuspended => "forbidden",
            Kind::NotFound => "not_found",
            Kind::TooManyConnections => "limit",
            Kind::Draining => "draining",
            Kind::RateLimited => "rate_limit",
            kind if kind.status().is_server_error() => "unavailable",
            _ => "bad_request",
        });
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// When a request began. Extracted first: a credential that is revoked after this moment ends the
/// connection, whether or not it has begun by then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked(pub(super) Instant);

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Instant::now()))
    }
}
