//! Schedules fire when they are due.

use std::{sync::Arc, time::Duration};

use tidings_store::{Command, Journal, Maintain, Outcome, Store, Swept};

/// How often the store is asked what is due at the least: another node may have put a schedule, and the
/// clock may have been set.
const EVERY: Duration = Duration::from_secs(1);

/// How long it waits where something was said to be due and was not.
const AGAIN: Duration = Duration::from_millis(250);

/// How many fire at a time: little enough that no commit waits long behind it.
const LIMIT: usize = 100;

/// Fires what is due, until cancelled.
pub(crate) async fn run(store: Arc<dyn Store>, journal: Journal) {
    let mut failing = false;
    loop {
        let wait = match step(&*store, &journal).await {
            Ok(wait) => {
                failing = false;
                wait
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "what is due by schedules could not be fired; trying on");
                }
                EVERY
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Fires what is due now, and says how long nothing will be.
async fn step(
    store: &dyn Store,
    journal: &Journal,
) -> Result<Duration, Box<dyn std::error::Error + Send + Sync>> {
    let mut fired = true;
    loop {
        match store.next_fire_in().await? {
            Some(wait) if wait.is_zero() && fired => fired = fire(journal).await?.rows > 0,
            Some(wait) if wait.is_zero() => return Ok(AGAIN),
            Some(wait) => return Ok(wait.min(EVERY)),
            None => return Ok(EVERY),
        }
    }
}

async fn fire(journal: &Journal) -> Result<Swept, tidings_store::CommandError> {
    match journal.submit(Command::Maintain(Maintain::Fire { limit: LIMIT })).await? {
        Outcome::Swept(swept) => Ok(swept),
        other => unreachable!("a sweep is answered by its size, not by {other:?}"),
    }
}
