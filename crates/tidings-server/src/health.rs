//! Whether the store answers, asked at most once a second however often `/health` is; and the bus beside it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tidings_live::{BusKind, Hub};
use tidings_store::Store;
use tokio::sync::Mutex;

#[derive(Clone)]
pub(crate) struct Health {
    store: Arc<dyn Store>,
    hub: Hub,
    last: Arc<Mutex<Option<(Instant, bool)>>>,
}

/// How a part that the server leans on stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    Ok,
    /// Its user may not do everything: see the log.
    Degraded,
    Unavailable,
    /// There is none.
    None,
}

impl Health {
    const EVERY: Duration = Duration::from_secs(1);

    /// How long the store may take to count as answering: probes may have no more than a second for the whole.
    const PATIENCE: Duration = Duration::from_millis(500);

    pub(crate) fn new(store: Arc<dyn Store>, hub: Hub) -> Self {
        Self { store, hub, last: Arc::default() }
    }

    pub(crate) async fn store(&self) -> Standing {
        let mut last = self.last.lock().await;
        let answered = match *last {
            Some((at, answered)) if at.elapsed() < Self::EVERY => answered,
            _ => {
                let read = tokio::time::timeout(Self::PATIENCE, self.store.answers()).await;
                let answered = matches!(read, Ok(Ok(())));
                *last = Some((Instant::now(), answered));
                answered
            }
        };
        if answered { Standing::Ok } else { Standing::Unavailable }
    }

    /// Without it other nodes' commits are found in the store alone; where it refuses to count, each node counts live
    /// connections alone.
    pub(crate) fn bus(&self) -> Standing {
        let bus = self.hub.bus();
        match bus.kind {
            BusKind::None => Standing::None,
            _ if bus.connected && bus.counts_refused => Standing::Degraded,
            _ if bus.connected => Standing::Ok,
            _ => Standing::Unavailable,
        }
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Health")
    }
}
