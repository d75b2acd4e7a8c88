//! One gathered batch, until each of its callers has an answer.

use std::sync::Arc;

use super::{
    BatchObserved, CommitSink,
    queue::{Reply, Work},
    stopwatch,
};
use crate::{Batch, CommandError, CommitError, Committed, Store};

pub(super) struct Committer {
    reports_apart: bool,
    store: Arc<dyn Store>,
    sink: Arc<dyn CommitSink>,
}

impl Committer {
    pub(super) fn new(store: Arc<dyn Store>, sink: Arc<dyn CommitSink>) -> Self {
        Self { reports_apart: store.reports_apart(), store, sink }
    }

    /// What is committed one after the other: each is handed over to be answered before the next begins.
    pub(super) fn parts(&self, mut work: Work) -> impl Iterator<Item = Work> + use<> {
        let reports = if self.reports_apart { work.take_reports() } else { Work::default() };
        [work, reports].into_iter().filter(|part| part.len() > 0)
    }

    /// Commits the work whole, or halved where the store rejects it until the culprit stands alone: the
    /// first half always before the second, so that order stays.
    ///
    /// What comes back has committed or not, and nobody knows yet: settle it, before any later one.
    pub(super) async fn commit(&self, lane: usize, work: Work) -> Settlement {
        let mut settlement = Settlement { commands: work.len(), ..Settlement::default() };
        // The next part is at the end.
        let mut parts = vec![work];
        while let Some(mut part) = parts.pop() {
            settlement.commits += 1;
            let result = self.commit_part(lane, &part.batch).await;
            if let Err(CommitError::Rejected(_)) = &result
                && let Some(second) = part.halve()
            {
                parts.extend([second, part]);
            } else {
                settlement.parts.push((part, result));
            }
        }
        settlement
    }

    async fn commit_part(&self, lane: usize, batch: &Batch) -> Result<Committed, CommitError> {
        let (commands, elapsed) = (batch.commands.len(), stopwatch());
        let result = self.store.commit(lane, batch).await;
        let events = result.as_ref().map_or(0, |committed| committed.events.len());
        self.sink.batch_observed(BatchObserved { commands, events, duration: elapsed() });
        if let Err(error @ (CommitError::Unavailable(_) | CommitError::Unknown(_))) = &result {
            tracing::error!(commands, %error, "a batch was not committed");
        }
        result
    }

    /// Tells the feeds of what was committed, then the callers, part by part.
    pub(super) fn settle(&self, settlement: Settlement) {
        for (part, result) in settlement.parts {
            match result {
                Ok(committed) => {
                    if !committed.events.is_empty() {
                        self.sink.committed(&committed.events, &committed.epochs);
                    }
                    answer(part.replies, committed);
                }
                Err(CommitError::Rejected(text)) => refuse(part.replies, &CommandError::Rejected(text)),
                Err(CommitError::Unavailable(_)) => refuse(part.replies, &CommandError::Unavailable),
                Err(CommitError::Unknown(_)) => refuse(part.replies, &CommandError::OutcomeUnknown),
            }
        }
    }
}

/// Work that the store has answered, before anybody was told.
#[derive(Default)]
pub(super) struct Settlement {
    parts: Vec<(Work, Result<Committed, CommitError>)>,
    pub(super) commands: usize,
    /// How many commits it took.
    pub(super) commits: u64,
}

fn answer(replies: Vec<Reply>, committed: Committed) {
    let mut outcomes = committed.outcomes.into_iter();
    for reply in replies {
        // A store that answers too few has broken its contract; nobody is told a lie.
        let outcome = outcomes.next().unwrap_or(Err(CommandError::OutcomeUnknown));
        // Whoever went away finds the outcome in the log.
        let _ = reply.send(outcome);
    }
}

fn refuse(replies: Vec<Reply>, error: &CommandError) {
    for reply in replies {
        let _ = reply.send(Err(error.clone()));
    }
}
