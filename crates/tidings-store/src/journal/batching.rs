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

    /// Commits it whole, or halved where the store rejects it until the culprit stands alone: the first
    /// half always before the second, so that order stays. Returns how many commits that took.
    pub(super) async fn commit(&self, batch: Vec<Pending>) -> u64 {
        let mut commits = 0;
        // The next part is at the end.
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            commits += 1;
            let commands: Vec<Command> = part.iter().map(|pending| pending.command.clone()).collect();
            match self.commit_part(commands).await {
                Ok(committed) => answer(part, committed),
                Err(CommitError::Rejected(_)) if part.len() > 1 => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                Err(CommitError::Rejected(text)) => refuse(part, &CommandError::Rejected(text)),
                Err(CommitError::Unavailable(_)) => refuse(part, &CommandError::Unavailable),
                Err(CommitError::Unknown(_)) => refuse(part, &CommandError::OutcomeUnknown),
            }
        }
        commits
    }

    async fn commit_part(&self, commands: Vec<Command>) -> Result<Committed, CommitError> {
        let (count, elapsed) = (commands.len(), stopwatch());
        let result = self.store.commit(Batch { commands }).await;
        let events = result.as_ref().map_or(0, |committed| committed.events.len());
        self.sink.batch_observed(BatchObserved { commands: count, events, duration: elapsed() });
        match &result {
            Ok(committed) if !committed.events.is_empty() => self.sink.committed(&committed.events),
            Ok(_) | Err(CommitError::Rejected(_)) => {}
            Err(error) => tracing::error!(commands = count, %error, "a batch was not committed"),
        }
        result
    }
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
