use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{FromRef, FromRequestParts},
    http::request::Parts,
};
use tidings_core::{Entropy, TenantId, UserId};
use tidings_delivery::{ConnectionId, ConnectionKind, Delivery};

use crate::{
    drain::Drain,
    metrics::Metrics,
    places::{Full, Places, Whose},
    problem::{Kind, Problem},
    settings::Settings,
};

const PER_USER: &str = "limits.connections_per_user";
const PER_TENANT: &str = "limits.connections_per_tenant";

const SOON: Duration = Duration::from_secs(2);
/// A place comes free when one of the same holder's connections ends, or its node is found to be dead.
const LATER: Duration = Duration::from_secs(10);

/// Where streams are begun: knows how many there are.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(super) delivery: Delivery,
    open: Arc<AtomicUsize>,
    settings: Settings,
    metrics: Metrics,
    entropy: Arc<dyn Entropy>,
    places: Places,
    drain: Drain,
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
        places: Places,
        drain: Drain,
    ) -> Self {
        Self { delivery, open: Arc::default(), settings, metrics, entropy, places, drain }
    }

    /// Refuses what no credential could change, before one is looked at: a ticket that is redeemed for a refusal is lost.
    pub(super) fn look_first(&self) -> Result<(), Problem> {
        if self.drain.has_begun() || self.delivery.is_draining() {
            let detail =
                "The server is stopping. Another one, or this one restarted, will take the connection.";
            return Err(Problem::new(Kind::Draining, detail).retry_after(SOON));
        }
        let max = self.settings.get().limits.connections;
        if self.open.load(Ordering::Acquire) >= max { Err(too_many(max)) } else { Ok(()) }
    }

    /// A place for one more, unless the server is full or stops.
    pub(super) fn admit(&self) -> Result<Place, Problem> {
        self.look_first()?;
        let max = self.settings.get().limits.connections;
        let place = Place(self.open.clone());
        if self.open.fetch_add(1, Ordering::AcqRel) < max {
            return Ok(place);
        }
        Err(too_many(max))
    }

    /// The places that a connection of this user takes, on all nodes.
    pub(super) async fn admit_of(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
    ) -> Result<impl Send + 'static, Problem> {
        self.places.take(tenant, user).await.map_err(too_many_of)
    }

    /// Refuses a connection of this user for which there would be no place now: a browser cannot see the
    /// status of a refused upgrade, so it learns of it when it asks for a ticket.
    pub(crate) async fn look(&self, tenant: &TenantId, user: Option<&UserId>) -> Result<(), Problem> {
        self.look_first()?;
        self.places.look(tenant, user).await.map_err(too_many_of)
    }

    pub(super) fn new_id(&self) -> ConnectionId {
        ConnectionId::generate(&*self.entropy)
    }

    /// Counts a stream that did not begin.
    pub(crate) fn refused(&self, kind: ConnectionKind, problem: &Problem) {
        self.metrics.streams(kind).rejected(match problem.kind() {
            Kind::Unauthorized => "auth_fail",
            Kind::Forbidden | Kind::TenantSuspended => "forbidden",
            Kind::NotFound => "not_found",
            Kind::TooManyConnections => "limit",
            Kind::ConnectionsLimited => match problem.member("limit").and_then(|key| key.as_str()) {
                Some(PER_USER) => "user_limit",
                Some(PER_TENANT) => "tenant_limit",
                _ => "address_limit",
            },
            Kind::Draining => "draining",
            Kind::RateLimited => "rate_limit",
            kind if kind.status().is_server_error() => "unavailable",
            _ => "bad_request",
        });
    }
}

fn too_many(max: usize) -> Problem {
    let detail =
        format!("This server takes {max} live connections (limits.connections), and they are all taken.");
    Problem::new(Kind::TooManyConnections, detail).with("limit", "limits.connections").retry_after(SOON)
}

fn too_many_of(Full { of, limit }: Full) -> Problem {
    let (who, key) = match of {
        Whose::User => ("user", PER_USER),
        Whose::Tenant => ("tenant", PER_TENANT),
    };
    let detail = format!(
        "A {who} may have {limit} live connections at one time ({key}), and they are all open. Close one of them."
    );
    Problem::new(Kind::ConnectionsLimited, detail).with("limit", key).retry_after(LATER)
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

/// There may be room for one more. Extracted before the credential, which a refusal then leaves unspent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room;

impl<S: Sync> FromRequestParts<S> for Room
where
    Desk: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Problem> {
        Desk::from_ref(state).look_first().map(|()| Self)
    }
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(Instant::now()))
    }
}
