//! One gathered batch, until each of its callers has an answer.

use std::sync::Arc;

use super::{
    BatchObserved, CommitSink,
    queue::{Pending, Reply},
    stopwatch,
};
use crate::{Batch, Command, CommandError, CommitError, Committed, Store};

pub(super) struct Committer {
    store: Arc<dyn Store>,
    sink: Arc<dyn CommitSink>,
}

impl Committer {
    pub(super) fn new(store: Arc<dyn Store>, sink: Arc<dyn CommitSink>) -> Self {
        Self { store, sink }
    }

    /// Hands the batch to the store, settles `earlier` while the store works on it, and waits. It is
    /// committed whole, or halved where the store rejects it until the culprit stands alone: the first
    /// half always before the second, so that order stays.
    ///
    /// What comes back has committed or not, and nobody knows yet: settle it, before any later one.
    pub(super) async fn commit(&self, batch: Vec<Pending>, earlier: Option<Settlement>) -> Settlement {
        let mut settlement = Settlement::default();
        let mut earlier = earlier;
        // The next part is at the end.
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            settlement.commits += 1;
            let commands: Vec<Command> = part.iter().map(|pending| pending.command.clone()).collect();
            let meanwhile = async {
                if let Some(earlier) = earlier.take() {
                    self.settle(earlier);
                }
            };
            // Polled in this order: the store has the batch before the earlier callers are answered.
            let (result, ()) = tokio::join!(biased; self.commit_part(commands), meanwhile);
            match result {
                Err(CommitError::Rejected(_)) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                result => settlement.parts.push((part, result)),
            }
        }
        settlement
    }

    async fn commit_part(&self, commands: Vec<Command>) -> Result<Committed, CommitError> {
        let (count, elapsed) = (commands.len(), stopwatch());
        let result = self.store.commit(Batch { commands }).await;
        let events = result.as_ref().map_or(0, |committed| committed.events.len());
        self.sink.batch_observed(BatchObserved { commands: count, events, duration: elapsed() });
        if let Err(error @ (CommitError::Unavailable(_) | CommitError::Unknown(_))) = &result {
            tracing::error!(commands = count, %error, "a batch was not committed");
        }
        result
    }

    /// Tells the feeds of what was committed, then the callers, part by part.
    pub(super) fn settle(&self, settlement: Settlement) {
        for (part, result) in settlement.parts {
            match result {
                Ok(committed) => {
                    if !committed.events.is_empty() {
                        self.sink.committed(&committed.events);
                    }
                    answer(part, committed);
                }
                Err(CommitError::Rejected(text)) => refuse(part, &CommandError::Rejected(text)),
                Err(CommitError::Unavailable(_)) => refuse(part, &CommandError::Unavailable),
                Err(CommitError::Unknown(_)) => refuse(part, &CommandError::OutcomeUnknown),
            }
        }
    }
}

/// A batch that the store has answered, before anybody was told.
#[derive(Default)]
pub(super) struct Settlement {
    parts: Vec<(Vec<Pending>, Result<Committed, CommitError>)>,
    /// How many commits it took.
    pub(super) commits: u64,
}

fn answer(part: Vec<Pending>, committed: Committed) {
    let mut outcomes = committed.outcomes.into_iter();
    for pending in part {
        // A store that answers too few has broken its contract; nobody is told a lie.
        let outcome = outcomes.next().unwrap_or(Err(CommandError::OutcomeUnknown));
        // Whoever went away finds the outcome in the log.
        let _ = pending.reply.send(outcome);
    }
}

fn refuse(part: Vec<Pending>, error: &CommandError) {
    for Pending { reply, .. } in part {
        let _ = Reply::send(reply, Err(error.clone()));
    }
}
