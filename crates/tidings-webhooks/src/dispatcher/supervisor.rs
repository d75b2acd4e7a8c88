//! Who is delivered to: the endpoints of a partition, or of all.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use tidings_core::{Endpoint, EndpointId, webhook::Partition};
use tidings_store::Dispatchable;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use super::{Shared, courier, stats::Standing};

/// Endpoints that one look takes.
const LOOK: usize = 500;

/// The endpoints that are there, each with a task of its own. Dropping it ends them all.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    partition: Option<Partition>,
    /// The last change that was seen.
    change: u64,
    table: HashMap<EndpointId, Entry, RandomState>,
    tasks: JoinSet<()>,
}

struct Entry {
    changes: watch::Sender<Arc<Endpoint>>,
    task: AbortHandle,
    standing: Arc<Standing>,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, partition: Option<Partition>) -> Self {
        Self { shared, partition, change: 0, table: HashMap::default(), tasks: JoinSet::new() }
    }

    /// Runs until dropped. Returns only where a task has failed, which it should not.
    pub(super) async fn run(mut self) {
        let mut failing = false;
        loop {
            let look = Arc::clone(&self.shared);
            let told = look.look.notified();
            let more = match self.look().await {
                Ok(more) => {
                    failing = false;
                    more
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "which webhook endpoints there are does not read; trying on");
                    }
                    false
                }
            };
            let pause = self.shared.config.load().poll;
            tokio::select! {
                () = std::future::ready(()), if more => {}
                () = sleep(pause) => {}
                () = told => {}
                () = self.shared.stop.cancelled() => return std::future::pending().await,
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        return;
                    }
                }
            }
        }
    }

    /// One look at what has changed; whether there may be more.
    async fn look(&mut self) -> Result<bool, tidings_store::ReadError> {
        let shared = Arc::clone(&self.shared);
        let Some(webhooks) = shared.store.webhooks() else { return Ok(false) };
        let changed = webhooks.dispatchable(self.partition, self.change, LOOK).await?;
        let more = changed.len() == LOOK;
        for one in changed {
            self.change = self.change.max(one.change);
            self.take(one);
        }
        Ok(more)
    }

    fn take(&mut self, one: Dispatchable) {
        match (one.endpoint, self.table.get(&one.id)) {
            (Some(endpoint), Some(entry)) => drop(entry.changes.send_replace(Arc::new(*endpoint))),
            (Some(endpoint), None) => self.add(Arc::new(*endpoint)),
            (None, _) => {
                if let Some(entry) = self.table.remove(&one.id) {
                    entry.task.abort();
                    self.shared.stats.forget(one.id, &entry.standing);
                }
            }
        }
    }

    fn add(&mut self, endpoint: Arc<Endpoint>) {
        let id = endpoint.id;
        let standing = self.shared.stats.stand(id, endpoint.state.name());
        let (changes, receiver) = watch::channel(endpoint);
        let courier = courier::run(Arc::clone(&self.shared), receiver, Arc::clone(&standing));
        let task = self.tasks.spawn(self.shared.running.track_future(courier));
        self.table.insert(id, Entry { changes, task, standing });
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for (id, entry) in &self.table {
            self.shared.stats.forget(*id, &entry.standing);
        }
    }
}
