//! Whether the store answers, asked at most once a second however often `/health` is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_store::Store;
use tokio::sync::Mutex;

#[derive(Clone)]
pub(crate) struct Health {
    store: Arc<dyn Store>,
    last: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl Health {
    const EVERY: Duration = Duration::from_secs(1);

    /// How long the store may take to count as answering.
    const PATIENCE: Duration = Duration::from_secs(2);

    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, last: Arc::default() }
    }

    pub(crate) async fn store_answers(&self) -> bool {
        let mut last = self.last.lock().await;
        if let Some((at, answered)) = *last
            && at.elapsed() < Self::EVERY
        {
            return answered;
        }
        let read = tokio::time::timeout(Self::PATIENCE, self.store.tenants(None, 1)).await;
        let answered = matches!(read, Ok(Ok(_)));
        *last = Some((Instant::now(), answered));
        answered
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Health")
    }
}
