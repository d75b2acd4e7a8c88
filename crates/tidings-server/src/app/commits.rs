use std::sync::Arc;

use tidings_core::{Epoch, Event, TenantId};
use tidings_live::Hub;
use tidings_store::{BatchObserved, CommitSink};

use crate::{leases::Desk, metrics::Metrics};

/// Everyone who hears of a commit. Subscribers first: their latency is what is felt.
pub(super) struct Commits {
    pub(super) hub: Hub,
    pub(super) desk: Desk,
    pub(super) metrics: Metrics,
}

impl CommitSink for Commits {
    fn committed(&self, events: &[Arc<Event>], epochs: &[(TenantId, Epoch)]) {
        self.hub.committed(events, epochs);
        self.desk.committed(events);
        self.metrics.log.committed(events);
    }

    fn batch_observed(&self, batch: BatchObserved) {
        self.metrics.log.batch(batch);
    }
}
