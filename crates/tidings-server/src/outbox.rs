//! What users' own transactions left in the database moves into the log.

use std::time::Duration;

use tidings_store::{Command, CommandError, Journal, Maintain, Outcome};

use crate::{config::Create, settings::Settings};

/// How often the outbox is looked into: any node may, and an empty one costs a look.
const EVERY: Duration = Duration::from_millis(25);

/// While the store cannot be reached.
const AGAIN: Duration = Duration::from_secs(1);

/// Rows of one piece: little enough that no commit waits long behind it.
const LIMIT: usize = 200;

/// Moves what is there until cancelled.
pub(crate) async fn run(journal: Journal, settings: Settings) {
    let mut failing = false;
    loop {
        let create = settings.get().tenants.create == Create::Auto;
        let wait = match move_piece(&journal, create).await {
            Ok(more) => {
                failing = false;
                if more { Duration::ZERO } else { EVERY }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the outbox could not be moved; trying on");
                }
                AGAIN
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// `true` where more is left.
async fn move_piece(journal: &Journal, create: bool) -> Result<bool, CommandError> {
    match journal.submit(Command::Maintain(Maintain::MoveOutbox { limit: LIMIT, create })).await? {
        Outcome::Swept(swept) => Ok(swept.more),
        other => unreachable!("a sweep is answered by its size, not by {other:?}"),
    }
}
