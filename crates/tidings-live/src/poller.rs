//! Asking a shared store what has moved: with a bus to find what that has lost, without one to hear of
//! anything at all. That the store answered is what makes a feed's head certain.

use std::{sync::Weak, time::Duration};

use tidings_core::TenantId;
use tidings_store::{ClusterError, Moves, Seen};
use tokio::{sync::watch, time::Instant};

use crate::node::Node;

/// Until the node goes. Asks often while the bus is not connected, and at once when it comes back: what
/// was committed while it was away came to nobody.
pub(crate) async fn run(node: Weak<Node>) {
    let Some(mut connected) = node.upgrade().map(|node| node.bus.connected()) else { return };
    let mut poller = Poller::default();
    while let Some(next) = poller.turn(&node, &mut connected).await {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            Ok(()) = connected.changed() => {}
        }
    }
}

/// Until the node goes: looks at the time for every feed, whatever the store does meanwhile.
pub(crate) async fn judge(node: Weak<Node>) {
    const LOOKS: u32 = 20;
    let Some(stale) = node.upgrade().map(|node| node.config.stale) else { return };
    let every = (stale / LOOKS).clamp(Duration::from_millis(10), Duration::from_millis(500));
    let mut rounds = tokio::time::interval(every);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(node) = node.upgrade() else { return };
        for feed in node.feeds() {
            feed.judge();
        }
    }
}

#[derive(Default)]
struct Poller {
    seen: Seen,
    /// The store did not answer the last time.
    failing: bool,
}

impl Poller {
    /// One look. Returns when the next is due; `None` ends it.
    async fn turn(&mut self, node: &Weak<Node>, connected: &mut watch::Receiver<bool>) -> Option<Instant> {
        let node = node.upgrade()?;
        let config = &node.config;
        let every = if *connected.borrow_and_update() { config.poll } else { config.poll_without_bus };
        let (began, moment) = (Instant::now(), node.now());
        // Only what was taken in counts as seen, also where an answer comes too late.
        let mut seen = self.seen.clone();
        let patience = (config.stale / 2).max(every);
        let answer = tokio::time::timeout(patience, node.store.cluster()?.moves(&mut seen)).await;
        let answer = answer.unwrap_or_else(|_| Err(ClusterError::Unavailable("it does not answer".into())));
        self.note(answer.as_ref().err());
        if let Ok(moves) = answer {
            self.seen = seen;
            take(&node, &moves);
            node.confirm(moment);
        }
        Some(began + every)
    }

    /// Says once that the store has gone, and once that it is back.
    fn note(&mut self, error: Option<&ClusterError>) {
        let failed = std::mem::replace(&mut self.failing, error.is_some());
        match error {
            Some(error) if !failed => {
                tracing::warn!(%error, "the store does not say what other nodes commit");
            }
            None if failed => tracing::info!("the store says again what other nodes commit"),
            _ => {}
        }
    }
}

/// Hears which tenants a shared store says have moved, wherever it was committed.
pub trait MoveSink: Send + Sync + 'static {
    /// Called once for each look that found something; it must not block.
    fn moved(&self, tenants: &[TenantId]);
}

fn take(node: &Node, moves: &Moves) {
    if let Some(sink) = node.move_sink.get()
        && !moves.heads.is_empty()
    {
        let tenants: Vec<_> = moves.heads.iter().map(|(tenant, ..)| tenant.clone()).collect();
        sink.moved(&tenants);
    }
    for (tenant, epoch, head) in &moves.heads {
        if let Some(feed) = node.feed(tenant) {
            feed.heard(epoch, *head);
        }
    }
    if !moves.complete {
        for feed in node.feeds() {
            feed.suspect();
        }
    }
}
