//! What one round of a batch looks at.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use tidings_core::{JobId, JobType, TenantId, UniqueKey, job::JobSpec};

use super::{
    super::{
        Inner,
        fault::Fault,
        job_row::Seen,
        look::{self, Candidates, Found, Holders},
        outbox::{self, Item, Left},
    },
    fire::DueSchedule,
};
use crate::{Claim, Command, Maintain, Operation, TenantState, transition};

/// How many candidates one look for claims takes beside those that are wanted, since other claims of the batch may be
/// given the same.
const SPARE_MAX: usize = 256;

/// What one look for claims may want, where they are several: the claims beyond it are for the next round.
const WANTED_MAX: usize = 1_024;

/// By the place of the command, where it is a map.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) jobs: HashMap<usize, Found, RandomState>,
    /// Commands whose job is as this node remembers it: what is refused for that is looked at first.
    pub(super) remembered: HashSet<usize, RandomState>,
    pub(super) holders: Holders,
    /// Which of `candidates` a claim takes from.
    pub(super) claims: HashMap<usize, usize, RandomState>,
    /// One for each kind of claims.
    pub(super) candidates: Vec<Candidates>,
    /// Claims that this round has not looked for, or all of whose candidates others of the batch were given: they have planned nothing.
    pub(super) later: HashSet<usize, RandomState>,
    pub(super) expired: HashMap<usize, Vec<Seen>, RandomState>,
    pub(super) due: HashMap<usize, Vec<DueSchedule>, RandomState>,
    pub(super) outbox: HashMap<usize, Vec<Left>, RandomState>,
    /// Jobs that a command of this round names or has been given: no other may have them.
    pub(super) taken: HashSet<JobId, RandomState>,
}

impl Inner {
    pub(super) async fn look(
        &self,
        commands: &[Command],
        part: &[usize],
        round: usize,
    ) -> Result<Looked, Fault> {
        let mut looked = Looked::default();
        self.look_for_named(commands, part, round, &mut looked).await?;
        for place in part {
            if let Command::Maintain(Maintain::MoveOutbox { limit, .. }) = &commands[*place] {
                looked.outbox.insert(*place, outbox::look(&self.work, *limit).await?);
            }
        }
        // As a rule nobody holds a new job's unique key: the write finds out, and only then is looked.
        if round > 0 {
            let mut wanted = Vec::new();
            for place in part {
                unique_keys(&commands[*place], looked.jobs.get(place), &mut wanted);
            }
            for left in looked.outbox.values().flatten() {
                if let Ok(Item::Job(new)) = &left.item {
                    want(&left.tenant, &new.spec, &mut wanted);
                }
            }
            if !wanted.is_empty() {
                looked.holders = look::holders(&self.work, &wanted).await?;
            }
        }
        self.look_for_work(commands, part, round, &mut looked).await?;
        Ok(looked)
    }

    /// In the first round what is reported of jobs is decided on what is remembered of them.
    async fn look_for_named(
        &self,
        commands: &[Command],
        part: &[usize],
        round: usize,
        looked: &mut Looked,
    ) -> Result<(), Fault> {
        let (mut places, mut wanted) = (Vec::new(), Vec::new());
        for place in part {
            let Some((tenant, id)) = named(&commands[*place]) else { continue };
            looked.taken.insert(id);
            // What is remembered is running, and what is retried has ended.
            let is_retry =
                matches!(&commands[*place], Command::Tenant { operation: Operation::Retry { .. }, .. });
            let remembered = if round == 0 && !is_retry { self.recent.take(tenant, id) } else { None };
            if let Some(seen) = remembered {
                let found = Found { tenant: Some(TenantState::Active), job: Some(seen) };
                looked.jobs.insert(*place, found);
                looked.remembered.insert(*place);
            } else {
                places.push(*place);
                wanted.push((tenant.clone(), id));
            }
        }
        if !wanted.is_empty() {
            let found = look::jobs(&self.work, &wanted).await?;
            looked.jobs.extend(places.into_iter().zip(found));
        }
        Ok(())
    }

    async fn look_for_work(
        &self,
        commands: &[Command],
        part: &[usize],
        round: usize,
        looked: &mut Looked,
    ) -> Result<(), Fault> {
        let claims = part.iter().filter_map(|place| match &commands[*place] {
            Command::Claim(claim) => Some((*place, claim)),
            _ => None,
        });
        let (alike, later) = Alike::of(claims);
        looked.later.extend(later);
        let wanted: usize = alike.iter().map(|alike| alike.wanted).sum();
        for alike in alike {
            let spare = (wanted - alike.wanted).min(SPARE_MAX);
            let candidates = self.look_for_claim(alike.first, alike.wanted + spare).await?;
            looked.claims.extend(alike.places.into_iter().map(|place| (place, looked.candidates.len())));
            looked.candidates.push(candidates);
        }
        for place in part {
            match &commands[*place] {
                Command::Maintain(Maintain::Rescue { limit }) => {
                    self.end_outage(None).await?;
                    let (now, jobs) = look::expired(&self.work, self.time.injected(), *limit).await?;
                    self.time.heard(now);
                    looked.expired.insert(*place, jobs);
                }
                Command::Maintain(Maintain::Fire { limit }) => {
                    let due = self.look_for_due(*limit, round, looked).await?;
                    looked.due.insert(*place, due);
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn look_for_claim(&self, claim: &Claim, max: usize) -> Result<Candidates, Fault> {
        let limits = self.concurrency.now();
        let mut types: Vec<(&JobType, Option<u32>)> =
            claim.types.iter().map(|t| (t, limits.get(t).copied())).collect();
        types.sort_unstable();
        types.dedup();
        let after = self.turns.last(claim);
        let wanted = look::Wanted {
            now: self.time.injected(),
            tenants: &claim.tenants,
            types,
            after: after.as_ref(),
            max,
        };
        look::candidates(&self.work, &wanted).await
    }
}

/// Claims of the same tenants and types, which one look serves: each takes what those before it leave.
struct Alike<'a> {
    first: &'a Claim,
    places: Vec<usize>,
    wanted: usize,
    is_full: bool,
}

impl<'a> Alike<'a> {
    /// And the places of those that one look cannot serve as well: no later claim of their kind goes before them.
    fn of(claims: impl Iterator<Item = (usize, &'a Claim)>) -> (Vec<Self>, Vec<usize>) {
        let (mut all, mut later): (Vec<Self>, Vec<usize>) = (Vec::new(), Vec::new());
        for (place, claim) in claims {
            let is_alike =
                |alike: &&mut Self| alike.first.tenants == claim.tenants && alike.first.types == claim.types;
            let Some(alike) = all.iter_mut().find(is_alike) else {
                all.push(Self { first: claim, places: vec![place], wanted: claim.max, is_full: false });
                continue;
            };
            alike.is_full |= alike.wanted + claim.max > WANTED_MAX;
            if alike.is_full {
                later.push(place);
            } else {
                alike.places.push(place);
                alike.wanted += claim.max;
            }
        }
        (all, later)
    }
}

/// The job that a command is decided on.
fn named(command: &Command) -> Option<(&TenantId, JobId)> {
    let Command::Tenant { tenant, operation, .. } = command else { return None };
    let job = match operation {
        Operation::Retry { job, .. } => *job,
        operation => transition::target(operation)?,
    };
    Some((tenant, job))
}

type Wanted = Vec<(TenantId, JobType, UniqueKey)>;

fn unique_keys(command: &Command, found: Option<&Found>, wanted: &mut Wanted) {
    let Command::Tenant { tenant, operation, .. } = command else { return };
    match operation {
        Operation::Enqueue { jobs, .. } => jobs.iter().for_each(|job| want(tenant, &job.spec, wanted)),
        Operation::EnqueueLeased { job, .. } => want(tenant, &job.spec, wanted),
        Operation::Retry { .. } => {
            if let Some(seen) = found.and_then(|found| found.job.as_ref()) {
                want(tenant, &seen.job.spec, wanted);
            }
        }
        _ => {}
    }
}

fn want(tenant: &TenantId, spec: &JobSpec, wanted: &mut Wanted) {
    if let Some(key) = &spec.unique_key {
        wanted.push((tenant.clone(), spec.job_type.clone(), key.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{claim, one};

    #[test]
    fn claims_of_one_kind_are_looked_for_together_up_to_a_bound() {
        let claims = [
            claim(one("acme"), &["a"], 10),
            claim(one("other"), &["a"], 10),
            claim(one("acme"), &["a", "b"], 10),
            claim(one("acme"), &["a"], WANTED_MAX - 20),
            claim(one("acme"), &["a"], 11),
            claim(one("acme"), &["a"], 1),
            claim(one("other"), &["b"], 5_000),
        ];
        let claims = claims.iter().enumerate().map(|(place, command)| match command {
            Command::Claim(claim) => (place, claim),
            _ => unreachable!("they are claims"),
        });
        let (alike, later) = Alike::of(claims);
        let found: Vec<_> = alike.iter().map(|alike| (&*alike.places, alike.wanted)).collect();
        let expected: [(&[usize], usize); 4] =
            [(&[0, 3], WANTED_MAX - 10), (&[1], 10), (&[2], 10), (&[6], 5_000)];
        assert_eq!(found, expected);
        assert_eq!(later, [4, 5]);
    }
}
