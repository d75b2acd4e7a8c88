//! Old events, finished jobs and spent keys are removed, a small piece at a time.

use std::time::Duration;

use tidings_store::{Command, Journal, Maintain, Outcome, Retention};

use crate::config;

/// How often the floors move.
const EVERY: Duration = Duration::from_secs(30);

/// Rows of one piece: little enough that no commit waits long behind it.
const LIMIT: usize = 500;

/// Removes what has expired until cancelled.
pub(crate) async fn run(journal: Journal, config: config::Retention) {
    let retention =
        Retention { age: config.age.0.map(|span| span.0), events_per_tenant: config.events_per_tenant.0 };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while sweep(&journal, retention).await {
            // Commits go first: this is housekeeping.
            tokio::task::yield_now().await;
        }
    }
}

/// Removes one piece; `true` where more is left.
async fn sweep(journal: &Journal, retention: Retention) -> bool {
    match journal.submit(Command::Maintain(Maintain::Retain { retention, limit: LIMIT })).await {
        Ok(Outcome::Swept(swept)) => swept.more,
        Ok(other) => unreachable!("a sweep is answered by its size, not by {other:?}"),
        Err(error) => {
            tracing::warn!(%error, "what has expired could not be removed; trying again later");
            false
        }
    }
}
