use std::time::Instant;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use tidings_core::Cursor;
use tidings_delivery::{NewConnection, Protocol, Stream};
use tidings_live::{Hub, SubscriptionSpec};
use tidings_store::Journal;

use super::{
    Desk,
    admission::{Asked, Room},
    request,
};
use crate::{
    access::{Gate, StreamAccess},
    addresses::AddressPlace,
    params::Params,
    problem::Problem,
};

/// Somebody who may read events asks for a stream of them.
pub(crate) struct Asking {
    at: Instant,
    access: StreamAccess,
    params: Result<Params, Problem>,
    address: Option<AddressPlace>,
    hub: Hub,
    journal: Journal,
}

/// What the stream is to be.
pub(super) struct Wanted {
    asking: Asking,
    spec: SubscriptionSpec,
}

impl<S> FromRequestParts<S> for Asking
where
    S: Send + Sync,
    Desk: FromRef<S>,
    Gate: FromRef<S>,
    Hub: FromRef<S>,
    Journal: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // The moment comes before the judgement: what is revoked after it closes the connection.
        let Ok(Asked(at)) = Asked::from_request_parts(parts, state).await;
        let Room = Room::from_request_parts(parts, state).await?;
        Ok(Self {
            at,
            access: StreamAccess::from_request_parts(parts, state).await?,
            params: Params::from_request_parts(parts, state).await,
            address: parts.extensions.remove(),
            hub: Hub::from_ref(state),
            journal: Journal::from_ref(state),
        })
    }
}

impl Asking {
    /// Reads the parameters; `resume` wins over `since`.
    pub(super) fn read(mut self, resume: Option<Cursor>) -> Result<Wanted, Problem> {
        let params = std::mem::replace(&mut self.params, Ok(Params::default()))?;
        let spec = request::read(&self.access, params, resume)?;
        Ok(Wanted { asking: self, spec })
    }
}

impl Wanted {
    /// Takes a place under the limit and opens the feed: the connection is ready to be served.
    pub(super) async fn connect(
        self,
        desk: &Desk,
        protocol: impl FnOnce(Stream) -> Protocol,
    ) -> Result<NewConnection, Problem> {
        let Self { asking: Asking { at, access, address, hub, journal, .. }, spec } = self;
        let place = desk.admit()?;
        let places = desk.admit_of(&access.tenant, access.principal.user()).await?;
        let feed = access.feed(&hub, &journal).await?;
        Ok(NewConnection {
            id: desk.new_id(),
            principal: access.principal.clone(),
            judged_at: at,
            protocol: protocol(Stream { feed, spec }),
            received: bytes::Bytes::new(),
            slot: Box::new((place, places, address)),
        })
    }
}
