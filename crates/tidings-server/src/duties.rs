//! Work that one node at a time does for all.

#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use tidings_core::webhook::Partition;
use tidings_store::{Cluster, ClusterError, Duty, Store, Term};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{metrics::Metrics, webhooks::Share};

/// How terms are kept.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// How often a duty is asked for, and renewed while it is led.
    every: Duration,
    /// How long after a renewal was asked for its work goes on. What this leaves of the term is for a step
    /// under way to be dropped and for clocks that run unlike.
    held: Duration,
    /// How long one question may stay unanswered while nothing is led.
    patience: Duration,
}

/// The store ends a term ten seconds after it answered.
const PACE: Pace =
    Pace { every: Duration::from_secs(3), held: Duration::from_secs(8), patience: Duration::from_secs(5) };

/// How often a node says that it is alive.
const BEAT: Duration = Duration::from_secs(1);

/// Every duty, for the metric that says who leads.
pub(crate) fn all() -> impl Iterator<Item = Duty> {
    let partitions = Partition::all().map(Duty::Webhooks);
    [Duty::Rescue, Duty::Retention, Duty::Schedules].into_iter().chain(partitions)
}

/// Leads duties: on a database that servers share, where no other node does; else always.
#[derive(Clone)]
pub(crate) struct Duties {
    store: Arc<dyn Store>,
    metrics: Metrics,
    pace: Pace,
}

/// Why a term is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Another node leads.
    Taken,
    /// This node leads more than its share.
    TooMany,
    /// It was not renewed in time: another node may lead.
    NotRenewed,
}

impl Duties {
    pub(crate) const fn new(store: Arc<dyn Store>, metrics: Metrics) -> Self {
        Self { store, metrics, pace: PACE }
    }

    /// Runs `work` while this node leads `duty`, until cancelled. Each term gets a `work` of its own; the
    /// one of a term that ends is dropped at its next await. A change that it had handed to the
    /// journal by then may still be committed: every duty's changes are such that doing one twice does nothing more.
    ///
    /// Returns only when `work` does, which it should not.
    pub(crate) async fn run<F>(self, duty: Duty, work: impl Fn() -> F)
    where
        F: Future<Output = ()>,
    {
        let Some(cluster) = self.store.cluster() else {
            let _leading = self.metrics.duties.leading(duty);
            return work().await;
        };
        let mut failing = false;
        loop {
            let asked = Instant::now();
            match lead(cluster, duty, asked + self.pace.patience).await {
                Ok(Some(term)) => {
                    failing = false;
                    tracing::info!(duty = duty.as_str(), term, "this node leads");
                    let leading = self.metrics.duties.leading(duty);
                    let renewing = renew(cluster, duty, term, asked, self.pace);
                    let Some(over) = hold(renewing, work()).await else { return };
                    drop(leading);
                    tracing::info!(duty = duty.as_str(), term, ?over, "this node leads no more");
                }
                Ok(None) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(duty = duty.as_str(), %error, "nobody can be asked who leads; asking on");
                    }
                }
            }
            sleep_until(asked + self.pace.every).await;
        }
    }

    /// As [`run`](Self::run) on a database that servers share, but leads only what is within this node's share.
    pub(crate) async fn run_share<F>(self, duty: Duty, share: Share, work: impl Fn() -> F)
    where
        F: Future<Output = ()>,
    {
        let Some(cluster) = self.store.cluster() else { return work().await };
        loop {
            let asked = Instant::now();
            // Who finds no place tries again soon: another, which asks for what is led elsewhere, has it for
            // a moment only, and would else have it at every round.
            let mut pause = self.pace.every / 8;
            if share.take() {
                pause = self.pace.every;
                // A store that does not answer is told of by the other duties.
                let led = lead(cluster, duty, asked + self.pace.patience).await;
                let over = if let Ok(Some(term)) = led {
                    let leading = self.metrics.duties.leading(duty);
                    let renewing = renew(cluster, duty, term, asked, self.pace);
                    let ending = async {
                        tokio::select! {
                            over = renewing => over,
                            () = share.shed() => Over::TooMany,
                        }
                    };
                    let Some(over) = hold(ending, work()).await else { return };
                    drop(leading);
                    tracing::debug!(duty = duty.as_str(), term, ?over, "this node leads no more");
                    Some(over)
                } else {
                    None
                };
                if over == Some(Over::TooMany) {
                    // Where it fails the term runs out by itself.
                    let _ = timeout_at(Instant::now() + self.pace.patience, cluster.resign(duty)).await;
                } else {
                    share.give_back();
                }
            }
            sleep_until(asked + pause).await;
        }
    }

    /// Gives back what this node leads, so that another need not wait for the end of its terms. To be
    /// called when the work has stopped.
    pub(crate) async fn resign(&self) {
        let Some(cluster) = self.store.cluster() else { return };
        let deadline = Instant::now() + self.pace.patience;
        for duty in all() {
            // Where it fails the term runs out by itself.
            if let Ok(Err(error)) = timeout_at(deadline, cluster.resign(duty)).await {
                tracing::debug!(duty = duty.as_str(), %error, "a duty was not given back");
            }
        }
    }
}

/// Works and renews, until the term is over; `None` where the work has ended by itself.
async fn hold(renewing: impl Future<Output = Over>, work: impl Future<Output = ()>) -> Option<Over> {
    tokio::select! {
        biased;
        over = renewing => Some(over),
        () = work => None,
    }
}

async fn renew(cluster: &dyn Cluster, duty: Duty, term: Term, mut asked: Instant, pace: Pace) -> Over {
    // What counts is when it was asked: the store began to count no earlier.
    let mut until = asked + pace.held;
    loop {
        sleep_until((asked + pace.every).min(until)).await;
        asked = Instant::now();
        if asked >= until {
            return Over::NotRenewed;
        }
        match lead(cluster, duty, until).await {
            Ok(Some(same)) if same == term => until = asked + pace.held,
            // It had ended: another node may have led in between.
            Ok(_) => return Over::Taken,
            Err(error) => {
                tracing::debug!(duty = duty.as_str(), %error, "a term was not renewed; trying again");
            }
        }
    }
}

async fn lead(cluster: &dyn Cluster, duty: Duty, deadline: Instant) -> Result<Option<Term>, ClusterError> {
    let silent = |_| Err(ClusterError::Unavailable("it did not answer in time".into()));
    timeout_at(deadline, cluster.lead(duty)).await.unwrap_or_else(silent)
}

/// Says every second that this node is alive, until cancelled.
pub(crate) async fn beat(store: Arc<dyn Store>) {
    let Some(cluster) = store.cluster() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        match cluster.beat().await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "this node cannot say that it is alive; trying on");
            }
            Err(_) => {}
        }
    }
}

impl std::fmt::Debug for Duties {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Duties")
    }
}
