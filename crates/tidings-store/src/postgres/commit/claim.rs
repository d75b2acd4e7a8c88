//! Who gets which job, and whose lease is lost: units that others may have taken meanwhile.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash as _, Hasher as _},
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{TenantId, Tenants};

use super::{
    super::{job_row::Seen, plan::UnitNo},
    answer::Answer,
    decide::Decider,
};
use crate::{Claim, CommandError};

/// How many kinds of claims are remembered for their turn.
const ROTATIONS_MAX: usize = 1_024;

impl Decider<'_> {
    pub(super) fn claim(&mut self, claim: &Claim, place: usize) -> Result<Answer, CommandError> {
        let Some(kind) = self.looked.claims.get(&place).copied() else {
            return Ok(Answer::Claimed { units: Vec::new(), next_due: None });
        };
        if self.looked.candidates[kind].suspended {
            return Err(CommandError::TenantSuspended);
        }
        let (mut units, mut is_crowded) = (Vec::new(), false);
        // What it leaves is for the claims after it.
        while units.len() < claim.max
            && let Some(Seen { version, job }) = self.looked.candidates[kind].jobs.pop_front()
        {
            if !self.looked.taken.insert(job.id) {
                is_crowded = true;
                continue;
            }
            let limit = self.limits.get(&job.spec.job_type).copied();
            let tenant = job.tenant.clone();
            // A job that is not due after all is left to a later claim.
            if let Ok(step) = job.lease(claim.worker.clone(), claim.length, self.at) {
                let unit = self.unit(&tenant, false);
                units.push((unit, self.plan.step(unit, Some(version), step, limit)));
            }
        }
        // There may be more than what was looked at.
        if units.is_empty() && is_crowded {
            self.looked.later.insert(place);
        }
        Ok(Answer::Claimed { units, next_due: self.looked.candidates[kind].next_due })
    }

    /// Expires the leases that were found. A suspended tenant's are lost as well.
    pub(super) fn rescue(&mut self, place: usize) -> Answer {
        let expired = self.looked.expired.remove(&place).unwrap_or_default();
        let found = expired.len();
        let mut units: Vec<UnitNo> = Vec::new();
        for Seen { version, job } in expired {
            let tenant = job.tenant.clone();
            if self.looked.taken.insert(job.id)
                && let Ok(step) = job.expire(self.at)
            {
                let unit = self.plan.unit(&tenant, false, true);
                self.plan.step(unit, Some(version), step, None);
                units.push(unit);
            }
        }
        Answer::Rescued { units, found }
    }
}

/// Which tenant each kind of claim served last. Claims of the same tenants and types take turns among
/// themselves: were there one turn for all, a claim of few tenants would send the others back to the same place
/// each time.
#[derive(Default)]
pub(crate) struct Turns {
    last: Mutex<HashMap<u64, TenantId, RandomState>>,
    hasher: RandomState,
}

impl Turns {
    pub(super) fn last(&self, claim: &Claim) -> Option<TenantId> {
        self.last.lock().get(&self.kind(claim)).cloned()
    }

    pub(super) fn served(&self, claim: &Claim, tenant: TenantId) {
        let mut last = self.last.lock();
        if last.len() >= ROTATIONS_MAX {
            last.clear();
        }
        last.insert(self.kind(claim), tenant);
    }

    fn kind(&self, claim: &Claim) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        claim.types.hash(&mut hasher);
        match &claim.tenants {
            Tenants::All => 0_u8.hash(&mut hasher),
            Tenants::One(one) => one.hash(&mut hasher),
            Tenants::Set(set) => set.hash(&mut hasher),
        }
        hasher.finish()
    }
}
