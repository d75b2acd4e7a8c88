//! Jobs that held the unique key of what was enqueued: they are shown to those alone who may change them.

use tidings_store::{Enqueued, Store};

use crate::{
    access::Access,
    problem::{Kind, Problem},
    refusal,
};

/// In an array's place of a job that may not be shown, where other jobs of the array were made.
const WITHHELD: &[u8] = br#"{"unique_key_held":true}"#;

/// Each job's text. What was committed is never answered by an error: only where nothing was made is a
/// job that may not be shown a problem.
pub(crate) async fn shown<'e, N>(
    store: &dyn Store,
    access: &Access<N>,
    enqueued: &'e [Enqueued],
) -> Result<Vec<&'e [u8]>, Problem> {
    let made = enqueued.iter().any(|e| e.created);
    let mut shown = Vec::with_capacity(enqueued.len());
    for one in enqueued {
        match if one.created { Ok(()) } else { may_see(store, access, one).await } {
            Ok(()) => shown.push(one.job.as_bytes()),
            Err(_) if made => shown.push(WITHHELD),
            Err(problem) => return Err(problem),
        }
    }
    Ok(shown)
}

async fn may_see<N>(store: &dyn Store, access: &Access<N>, held: &Enqueued) -> Result<(), Problem> {
    let job = store.job(&access.tenant, held.id).await.map_err(|e| refusal::of_read(&e))?;
    // One that has gone since was the asker's own, repeated.
    if job.is_none_or(|job| super::may_change(&access.principal, &job)) {
        return Ok(());
    }
    let detail = "A live job of another owner or subject holds this unique key.";
    Err(Problem::new(Kind::UniqueKeyHeld, detail))
}
