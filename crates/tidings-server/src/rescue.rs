//! Leases that are not extended go back to the queue.

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

/// Looks for lost leases until cancelled. While nothing was leased for two leases' length, none can be
/// lost, and nothing is looked at.
pub(crate) async fn run(journal: Journal, activity: LeaseActivity, lease: Duration) {
    let idle_after = lease * 2 + Duration::from_secs(10);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if activity.within(idle_after) && rescue(&journal).await > 0 {
            // What went back may be leased by a worker that this server does not hear of otherwise.
            activity.touch();
        }
    }
}

/// Takes every lost lease away; returns how many there were.
pub(crate) async fn rescue(journal: &Journal) -> usize {
    let mut rescued = 0;
    loop {
        match journal.submit(Command::Maintain(Maintain::Rescue { limit: LIMIT })).await {
            Ok(Outcome::Swept(swept)) => {
                rescued += swept.rows;
                if !swept.more {
                    return rescued;
                }
            }
            Ok(other) => unreachable!("a sweep is answered by its size, not by {other:?}"),
            Err(error) => {
                tracing::warn!(%error, "lost leases could not be looked for; trying again");
                return rescued;
            }
        }
    }
}

impl std::fmt::Debug for LeaseActivity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeaseActivity")
    }
}
