//! Which tenants there are, remembered: every request asks.

mod admin;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tidings_core::TenantId;
use tidings_store::{ReadError, Store, TenantState};

use crate::{
    problem::{Kind, Problem},
    refusal,
};

pub(crate) use admin::TenantAdmin;

/// What the directory knows of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Active,
    Suspended,
    Unknown,
}

/// A bounded memory of the tenants that are active: whoever suspends or deletes one makes it
/// forgotten, here at once, on other servers of the same store as they read of it. What is suspended or does
/// not exist is never remembered, so that resuming or making it counts everywhere at once.
#[derive(Clone)]
pub(crate) struct Directory {
    store: Arc<dyn Store>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Known {
    active: HashSet<TenantId, foldhash::fast::RandomState>,
    /// Rises with each change, so that a read that a change has overtaken is not remembered.
    generation: u64,
    births: Births,
}

/// How many tenants may come into being by use: a bucket of 100, filled with 10 a second.
#[derive(Debug)]
struct Births {
    tokens: f64,
    at: Instant,
    /// Those that were let in lately: many first uses of one tenant make one.
    admitted: HashSet<TenantId, foldhash::fast::RandomState>,
}

impl Births {
    const BURST: f64 = 100.0;
    const PER_SECOND: f64 = 10.0;
    /// Tenants that are remembered as let in; past it the memory starts anew.
    const ADMITTED_MAX: usize = 1_000;

    fn new(now: Instant) -> Self {
        Self { tokens: Self::BURST, at: now, admitted: HashSet::default() }
    }

    fn admit(&mut self, tenant: &TenantId, now: Instant) -> bool {
        if self.admitted.contains(tenant) {
            return true;
        }
        let admitted = self.take(now);
        if admitted {
            if self.admitted.len() >= Self::ADMITTED_MAX {
                self.admitted.clear();
            }
            self.admitted.insert(tenant.clone());
        }
        admitted
    }

    fn take(&mut self, now: Instant) -> bool {
        let filled = self.tokens + now.duration_since(self.at).as_secs_f64() * Self::PER_SECOND;
        self.tokens = filled.min(Self::BURST);
        self.at = now;
        let any = self.tokens >= 1.0;
        if any {
            self.tokens -= 1.0;
        }
        any
    }
}

impl Directory {
    /// Tenants that are remembered; past it the memory starts anew.
    const MAX: usize = 100_000;

    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let births = Births::new(Instant::now());
        let known = Known { active: HashSet::default(), generation: 0, births };
        Self { store, known: Arc::new(Mutex::new(known)) }
    }

    pub(crate) async fn standing(&self, tenant: &TenantId) -> Result<Standing, Problem> {
        let generation = {
            let known = self.known.lock();
            if known.active.contains(tenant) {
                return Ok(Standing::Active);
            }
            known.generation
        };
        let standing = self.read(tenant).await.map_err(|e| refusal::of_read(&e))?;
        let mut known = self.known.lock();
        if standing == Standing::Active && known.generation == generation {
            if known.active.len() >= Self::MAX {
                known.active.clear();
            }
            known.active.insert(tenant.clone());
        }
        Ok(standing)
    }

    /// As the store has it now.
    pub(crate) async fn read(&self, tenant: &TenantId) -> Result<Standing, ReadError> {
        Ok(match self.store.tenant(tenant).await?.map(|record| record.state) {
            None => Standing::Unknown,
            Some(TenantState::Active) => Standing::Active,
            Some(TenantState::Suspended) => Standing::Suspended,
        })
    }

    /// Call it after a tenant's state changed.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        let mut known = self.known.lock();
        known.active.remove(tenant);
        known.generation += 1;
    }

    /// Call it where it is not known which tenants' states changed.
    pub(crate) fn forget_all(&self) {
        let mut known = self.known.lock();
        known.active.clear();
        known.generation += 1;
    }

    /// Takes the right to make this tenant.
    pub(crate) fn admit_new(&self, tenant: &TenantId) -> Result<(), Problem> {
        if self.known.lock().births.admit(tenant, Instant::now()) {
            return Ok(());
        }
        let detail =
            "Too many tenants are being made at once. Try again, or have an operator make the tenant.";
        Err(Problem::new(Kind::RateLimited, detail).retry_after(Duration::from_secs(1)))
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("known", &self.known.lock().active.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_come_into_being_at_a_bounded_rate() {
        let start = Instant::now();
        let mut births = Births::new(start);
        let at_once = (0..200).filter(|_| births.take(start)).count();
        assert_eq!(at_once, 100);
        assert!(!births.take(start + Duration::from_millis(50)));
        assert!(births.take(start + Duration::from_millis(151)));
    }

    #[test]
    fn many_first_uses_of_one_tenant_count_as_one() {
        let now = Instant::now();
        let mut births = Births::new(now);
        let tenant = |n: usize| TenantId::new(format!("t{n}")).expect("valid");
        assert!((0..1_000).all(|_| births.admit(&tenant(0), now)));
        assert_eq!((1..1_000).filter(|n| births.admit(&tenant(*n), now)).count(), 99);
        assert!(births.admit(&tenant(0), now) && !births.admit(&tenant(999), now));
        assert!(births.admit(&tenant(999), now + Duration::from_secs(1)));
    }
}
