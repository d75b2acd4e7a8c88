//! How old what is retried is: rows do not say it, so the store is asked for the oldest one's event.

use std::{sync::Arc, time::Duration};

use tidings_core::{Endpoint, Seq, Timestamp};
use tidings_store::{DeliveryQuery, PageLimit};
use tokio::time::Instant;

use super::{Happened, Runner};
use crate::dispatcher::Shared;

/// How often at most, while something is retried: its age may be of an older one for so long.
const EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Age {
    looking: bool,
    looked_at: Option<Instant>,
    /// What is retried has changed since.
    stale: bool,
}

impl Age {
    pub(super) const fn look_soon(&mut self) {
        self.stale = true;
    }
}

impl Runner {
    pub(super) fn look_at_age(&mut self) {
        if self.next_age().is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.age = Age { looking: true, looked_at: Some(Instant::now()), stale: false };
        let (shared, endpoint) = (Arc::clone(&self.shared), Arc::clone(&self.endpoint));
        self.under_way
            .push(Box::pin(async move { Happened::Aged(oldest_retried(&shared, &endpoint).await) }));
    }

    /// When the store is to be asked next.
    pub(super) fn next_age(&self) -> Option<Instant> {
        let look = !self.age.looking && self.standing.is_retrying();
        // The first look also after a start, the later ones where something has changed.
        let wanted = look && (self.age.stale || self.age.looked_at.is_none());
        wanted.then(|| self.age.looked_at.map_or_else(Instant::now, |at| at + EVERY))
    }

    pub(super) fn aged(&mut self, oldest: Option<Timestamp>) {
        self.age.looking = false;
        if oldest.is_some() {
            self.standing.set_oldest_retried(oldest);
        }
    }
}

async fn oldest_retried(shared: &Shared, endpoint: &Endpoint) -> Option<Timestamp> {
    let query = DeliveryQuery { dead: false, after: Seq::ZERO, limit: 1, bytes: 1 };
    let rows = shared.store.webhooks()?.deliveries(&endpoint.tenant, endpoint.id, query).await.ok()?;
    let limit = PageLimit { events: 1, bytes: 1 };
    let page = shared.store.events(&endpoint.tenant, rows.first()?.seq.prev(), limit).await.ok()??;
    // Where the log begins later, that is the least it can be.
    page.events.first().map(|event| event.time)
}
