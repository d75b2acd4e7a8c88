//! What of an answer is kept under its idempotency key. Seqs are counted from a base that the database fills in,
//! so that a repeat answers exactly what was answered first.

use serde::{Deserialize, Serialize};
use tidings_core::{EventId, JobId, RawJson, Seq};

use super::write::Repeat;
use crate::{CommandError, Enqueued, Outcome, Published};

#[derive(Serialize, Deserialize)]
pub(super) struct KeptJob {
    pub(super) id: JobId,
    /// As it was at the commit, but for its seq where `nth` says which it is.
    pub(super) job: RawJson,
    pub(super) nth: Option<u64>,
}

pub(super) fn kept_jobs(jobs: &[KeptJob]) -> String {
    serde_json::to_string(jobs).expect("an outcome serialises")
}

pub(super) fn kept_events(ids: impl Iterator<Item = EventId>) -> String {
    serde_json::to_string(&ids.collect::<Vec<_>>()).expect("an outcome serialises")
}

pub(super) fn repeated_jobs(repeat: &Repeat) -> Result<Outcome, CommandError> {
    let kept: Vec<KeptJob> = read(repeat)?;
    let jobs = kept.into_iter().map(|KeptJob { id, job, nth }| {
        let job = match (nth, repeat.base) {
            (Some(nth), Some(base)) => with_seq(&job, base.plus(nth)),
            _ => job,
        };
        Enqueued { id, job, created: false }
    });
    Ok(Outcome::Enqueued(jobs.collect()))
}

pub(super) fn repeated_events(repeat: &Repeat) -> Result<Outcome, CommandError> {
    let ids: Vec<EventId> = read(repeat)?;
    let base = repeat.base.unwrap_or_default();
    let published = (1..).zip(ids).map(|(nth, id)| Published { seq: base.plus(nth), id, time: repeat.time });
    Ok(Outcome::Published(published.collect()))
}

/// A key that was used for another kind of outcome was used with another body.
fn read<T: serde::de::DeserializeOwned>(repeat: &Repeat) -> Result<T, CommandError> {
    serde_json::from_str(&repeat.outcome).map_err(|_| CommandError::IdempotencyMismatch)
}

/// Fills in the seq of a job that was written down with seq 0. Nothing before that field can hold a quote.
fn with_seq(job: &RawJson, seq: Seq) -> RawJson {
    RawJson::from_stored(job.as_str().replacen("\"seq\":0,", &format!("\"seq\":{seq},"), 1).into_bytes())
}
