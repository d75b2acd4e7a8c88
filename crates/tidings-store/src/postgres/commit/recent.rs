//! Jobs that this node has leased: what is reported of one is decided on what is remembered of it, without a look. A job
//! that another node has changed meanwhile is missed by the write, and then looked at.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{Job, JobId, JobState, TenantId};

use super::super::job_row::Seen;

/// What is remembered at most, in two halves of which the older is forgotten at once.
const BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// Of a job without its payload and its texts.
const JOB_BYTES: usize = 1_024;

#[derive(Default)]
pub(crate) struct Recent(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    young: HashMap<JobId, Seen, RandomState>,
    young_bytes: usize,
    old: HashMap<JobId, Seen, RandomState>,
}

impl Recent {
    /// As it was when it was written last. It is remembered again when it is written again.
    pub(super) fn take(&self, tenant: &TenantId, id: JobId) -> Option<Seen> {
        let mut halves = self.0.lock();
        let seen = halves.take(id)?;
        (seen.job.tenant == *tenant).then_some(seen)
    }

    /// Others than running jobs are not worth it: hardly anything happens to them but a claim, which looks.
    pub(super) fn remember<'j>(&self, written: impl Iterator<Item = (i64, &'j Job)>) {
        let mut running = written.filter(|(_, job)| matches!(job.state, JobState::Running { .. })).peekable();
        if running.peek().is_none() {
            return;
        }
        let mut halves = self.0.lock();
        for (version, job) in running {
            halves.put(Seen { version, job: job.clone() });
        }
    }
}

impl Halves {
    fn take(&mut self, id: JobId) -> Option<Seen> {
        if let Some(seen) = self.young.remove(&id) {
            self.young_bytes = self.young_bytes.saturating_sub(bytes(&seen));
            return Some(seen);
        }
        self.old.remove(&id)
    }

    fn put(&mut self, seen: Seen) {
        let more = bytes(&seen);
        if self.young_bytes + more > BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += more;
        self.young.insert(seen.job.id, seen);
    }
}

fn bytes(seen: &Seen) -> usize {
    let job = &seen.job;
    let failure = job.failure.as_ref().map_or(0, |failure| failure.message.len() + failure.raw.len());
    let message = job.progress.as_ref().and_then(|progress| progress.message.as_ref()).map_or(0, String::len);
    JOB_BYTES + job.spec.payload.as_bytes().len() + failure + message
}

#[cfg(test)]
mod tests {
    use tidings_core::{SystemEntropy, Timestamp, WorkerName, job::Moment};

    use super::*;
    use crate::conformance::{LEASE, tenant_id, work};

    fn running() -> Seen {
        let at = Moment { now: Timestamp::from_secs(1_800_000_000), entropy: &SystemEntropy };
        let job = Job::enqueue(tenant_id("acme"), work(), at).job;
        let worker = WorkerName::new("w").expect("valid");
        Seen { version: 2, job: job.lease(worker, LEASE, at).expect("is due").job }
    }

    #[test]
    fn a_job_is_remembered_until_it_is_taken() {
        let (first, second) = (running(), running());
        let recent = Recent::default();
        recent.remember([&first, &second].into_iter().map(|seen| (seen.version, &seen.job)));
        assert!(recent.take(&tenant_id("other"), first.job.id).is_none(), "of another tenant");
        assert_eq!(recent.take(&tenant_id("acme"), second.job.id).map(|seen| seen.version), Some(2));
        assert!(recent.take(&tenant_id("acme"), second.job.id).is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let recent = Recent::default();
        let job = running();
        let each = bytes(&job);
        for n in 0..2 * BYTES_MAX / each {
            let mut seen = job.clone();
            seen.job.id = JobId::from_bytes((n as u128).to_be_bytes());
            recent.remember(std::iter::once((seen.version, &seen.job)));
        }
        let halves = recent.0.lock();
        let remembered = (halves.young.len() + halves.old.len()) * each;
        assert!((BYTES_MAX / 4..=BYTES_MAX).contains(&remembered), "{remembered}");
    }
}
