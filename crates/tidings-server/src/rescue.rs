//! Leases that are not extended go back to the queue.

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tidings_core::{Clock, Timestamp};
use tidings_store::{Command, Journal, Maintain, Outcome};

/// How often leases are looked at while any may be running.
const EVERY: Duration = Duration::from_millis(500);

/// How often at the least: leases of before a restart may be longer than those given now, and an outage
/// may outlast what is remembered of them.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// How many are taken away at a time.
const LIMIT: usize = 500;

/// When a lease was last given or extended: as long as that is recent, some may be lost.
#[derive(Clone)]
pub(crate) struct LeaseActivity {
    last: Arc<AtomicI64>,
    clock: Arc<dyn Clock>,
}

impl LeaseActivity {
    /// Leases of before the start may be running.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { last: Arc::new(AtomicI64::new(clock.now().as_micros())), clock }
    }

    pub(crate) fn touch(&self) {
        self.last.store(self.clock.now().as_micros(), Ordering::Relaxed);
    }

    fn within(&self, time: Duration) -> bool {
        let last = Timestamp::from_micros(self.last.load(Ordering::Relaxed));
        self.clock.now().since(last) < time
    }
}

/// Takes lost leases away until cancelled.
pub(crate) async fn run(journal: Journal, activity: LeaseActivity, lease: Duration) {
    look_on(activity, lease, || rescue(journal.clone())).await;
}

/// Looks at every interval while a lease was lately given, extended or lost, or could not be looked for;
/// now and then otherwise.
async fn look_on<F>(activity: LeaseActivity, lease: Duration, look: impl Fn() -> F)
where
    F: Future<Output = Found>,
{
    let idle_after = lease * 2 + Duration::from_secs(10);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looked: Option<tokio::time::Instant> = None;
    loop {
        let now = ticks.tick().await;
        let due = looked.is_none_or(|at| now.duration_since(at) >= PROBE_EVERY);
        if !due && !activity.within(idle_after) {
            continue;
        }
        looked = Some(now);
        // What went back may be leased by a worker that this server does not hear of otherwise, and what
        // could not be looked for may still be lost.
        if look().await != Found::Nothing {
            activity.touch();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    Lost,
    /// The store did not answer, so there may be some.
    Unknown,
}

/// Takes every lost lease away.
async fn rescue(journal: Journal) -> Found {
    let mut found = Found::Nothing;
    loop {
        match journal.submit(Command::Maintain(Maintain::Rescue { limit: LIMIT })).await {
            Ok(Outcome::Swept(swept)) => {
                if swept.rows > 0 {
                    found = Found::Lost;
                }
                if !swept.more {
                    return found;
                }
            }
            Ok(other) => unreachable!("a sweep is answered by its size, not by {other:?}"),
            Err(error) => {
                tracing::warn!(%error, "lost leases could not be looked for; trying again");
                return Found::Unknown;
            }
        }
    }
}

impl std::fmt::Debug for LeaseActivity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeaseActivity")
    }
}
