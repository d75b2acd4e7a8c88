use tidings_store::{Command, CommandError, Journal, Outcome};
use tidings_webhooks::dispatcher::Dispatcher;

use crate::{problem::Problem, refusal};

/// Commits what changes endpoints. The dispatcher of this node looks at once; others' within a second.
#[derive(Clone)]
pub(crate) struct Changes {
    journal: Journal,
    dispatcher: Dispatcher,
}

impl Changes {
    pub(crate) const fn new(journal: Journal, dispatcher: Dispatcher) -> Self {
        Self { journal, dispatcher }
    }

    pub(crate) async fn submit(&self, command: Command) -> Result<Outcome, Problem> {
        self.commit(command).await.map_err(refusal::of_command)
    }

    /// `full` is the answer where there are as many as there may be.
    pub(crate) async fn submit_below(&self, command: Command, full: Problem) -> Result<Outcome, Problem> {
        self.commit(command).await.map_err(|error| match error {
            CommandError::TooMany => full,
            error => refusal::of_command(error),
        })
    }

    async fn commit(&self, command: Command) -> Result<Outcome, CommandError> {
        let outcome = self.journal.submit(command).await;
        // Where the outcome is not known it may have been committed.
        if matches!(outcome, Ok(_) | Err(CommandError::OutcomeUnknown)) {
            self.dispatcher.look();
        }
        outcome
    }
}
