//! Which partitions this node delivers to: all of the embedded store's, else its fair share of them.
//!
//! A node that delivers says so every three seconds and hears how many do. It leads at most sixteen divided by that many,
//! rounded up; where it has more, because another node has come, it gives some back, and the other takes them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future;
use tidings_core::webhook::Partition;
use tidings_store::{Duty, Store};
use tidings_webhooks::dispatcher::Dispatcher;
use tokio::time::{MissedTickBehavior, interval};

use crate::duties::Duties;

/// How often a node says that it delivers.
const EVERY: Duration = Duration::from_secs(3);

/// How many partitions this node may lead, and how many it does.
#[derive(Debug, Clone)]
pub(crate) struct Share(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    most: AtomicUsize,
    led: AtomicUsize,
}

/// Delivers until cancelled.
pub(crate) async fn run(store: Arc<dyn Store>, duties: Duties, dispatcher: Dispatcher) {
    if store.cluster().is_none() {
        return dispatcher.run(None).await;
    }
    let share = Share::none();
    let partitions = Partition::all().map(|partition| {
        let (dispatcher, share) = (dispatcher.clone(), share.clone());
        let work = move || {
            let dispatcher = dispatcher.clone();
            async move { dispatcher.run(Some(partition)).await }
        };
        Box::pin(duties.clone().run_share(Duty::Webhooks(partition), share, work))
    });
    tokio::select! {
        () = count(&*store, &share) => {}
        // None of them returns but where it has failed.
        _ = future::select_all(partitions) => {}
    }
}

async fn count(store: &dyn Store, share: &Share) {
    let Some(cluster) = store.cluster() else { return };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match cluster.delivering().await {
            Ok(nodes) => share.among(nodes),
            // What it leads ends by itself, should the store stay away.
            Err(error) => tracing::debug!(%error, "how many nodes deliver webhooks was not told"),
        }
    }
}

impl Share {
    fn none() -> Self {
        Self(Arc::new(Counts { most: AtomicUsize::new(0), led: AtomicUsize::new(0) }))
    }

    fn among(&self, nodes: usize) {
        self.0.most.store(usize::from(Partition::COUNT).div_ceil(nodes.max(1)), Relaxed);
    }

    /// Whether another one may be asked for; it then counts as led until [`give_back`](Self::give_back).
    pub(crate) fn take(&self) -> bool {
        let most = self.0.most.load(Relaxed);
        self.0.led.fetch_update(Relaxed, Relaxed, |led| (led < most).then_some(led + 1)).is_ok()
    }

    pub(crate) fn give_back(&self) {
        self.0.led.fetch_sub(1, Relaxed);
    }

    /// Returns when this node leads more than it may, to one of those who lead, which is then counted no more.
    pub(crate) async fn shed(&self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let most = self.0.most.load(Relaxed);
            if self.0.led.fetch_update(Relaxed, Relaxed, |led| (led > most).then_some(led - 1)).is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_takes_its_share_and_gives_back_what_is_too_much() {
        let share = Share::none();
        assert!(!share.take(), "nothing before it knows how many deliver");
        share.among(1);
        assert_eq!((0..20).filter(|_| share.take()).count(), 16);
        share.among(3);
        for _ in 0..10 {
            share.shed().await;
        }
        assert!(
            tokio::time::timeout(Duration::from_mins(1), share.shed()).await.is_err(),
            "six are its share"
        );
        assert!(!share.take());
        share.give_back();
        assert!(share.take());
    }
}
