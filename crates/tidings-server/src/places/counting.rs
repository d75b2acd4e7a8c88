//! Asking the others, one question after the other.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tidings_store::PlacesGiven;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{
    Held, Places,
    together::{Silence, Together},
};

/// How long one question may take before this node's own count decides.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries while the others are out of reach.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a stopping node tells of the places that are free.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Places {
    /// Tells and asks, until cancelled.
    pub(crate) async fn run(self) {
        let Some(together) = self.0.together.clone() else { return std::future::pending().await };
        let mut again = interval(together.again());
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.0.wake.notified() => {}
                _ = again.tick() => self.all_changed(),
            }
            while !self.settle(&*together).await {
                sleep(PAUSE).await;
            }
        }
    }

    /// Tells the others what a stopping node has no longer. To be called when [`run`](Self::run) has ended.
    pub(crate) async fn leave(&self) {
        let Some(together) = self.0.together.clone() else { return };
        self.all_changed();
        // Where it fails the places come free a little later.
        let _ = timeout(LAST_WORDS, self.settle(&*together)).await;
    }

    /// Asks until nothing waits. `false`: the others are out of reach.
    async fn settle(&self, together: &dyn Together) -> bool {
        loop {
            let mut round = self.0.table.lock().next_round(|holder| self.limit_of(holder));
            // What was not answered is asked again: nothing is empty while the others are out of reach.
            if round.is_empty() {
                return true;
            }
            let answer = timeout(PATIENCE, together.places(&round.asked)).await;
            let answer = answer.unwrap_or_else(|_| Err("it did not answer in time".into()));
            let decided = match complete(answer, round.asked.len()) {
                Ok(answers) => {
                    let back = self.0.out_of_reach.swap(false, Relaxed);
                    if back {
                        tracing::info!("live connections are counted over all nodes again");
                        self.all_changed();
                    }
                    self.0.table.lock().answered(std::mem::take(&mut round), &answers)
                }
                Err(error) => {
                    if !self.0.out_of_reach.swap(true, Relaxed) {
                        tracing::warn!(%error, "live connections are counted on this node alone");
                    }
                    let decided = self.0.table.lock().unanswered(std::mem::take(&mut round));
                    decided.tell(|holder| self.held_by(holder));
                    return false;
                }
            };
            decided.tell(|holder| self.held_by(holder));
        }
    }

    fn all_changed(&self) {
        self.0.table.lock().all_changed(|holder| self.limit_of(holder).is_some());
    }

    fn held_by(&self, holder: tidings_store::Holder) -> Held {
        Held { places: self.clone(), holder }
    }
}

fn complete(answer: Result<Vec<PlacesGiven>, Silence>, asked: usize) -> Result<Vec<PlacesGiven>, Silence> {
    match answer {
        Ok(answers) if answers.len() != asked => Err("it answered something else".into()),
        answer => answer,
    }
}
