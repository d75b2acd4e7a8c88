//! Which tenants there are, remembered: every request asks.

mod admin;

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;
use tidings_core::{Clock, Exceeded, Meter, Rate, TenantId, Timestamp};
use tidings_store::{ReadError, Store, TenantState};

use crate::{
    config::Limits,
    problem::{Kind, Problem},
    refusal,
    settings::Settings,
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
    settings: Settings,
    clock: Arc<dyn Clock>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Known {
    active: HashSet<TenantId, foldhash::fast::RandomState>,
    /// Rises with each change, so that a read that a change has overtaken is not remembered.
    generation: u64,
    births: Births,
}

/// How many tenants have come into being by use.
#[derive(Debug)]
struct Births {
    meter: Meter,
    /// Those that were let in lately: many first uses of one tenant make one.
    admitted: HashSet<TenantId, foldhash::fast::RandomState>,
}

impl Births {
    /// Tenants that are remembered as let in; past it the memory starts anew.
    const ADMITTED_MAX: usize = 1_000;

    fn new() -> Self {
        Self { meter: Meter::NEW, admitted: HashSet::default() }
    }

    fn admit(&mut self, tenant: &TenantId, rate: Rate, now: Timestamp) -> Result<(), Exceeded> {
        if self.admitted.contains(tenant) {
            return Ok(());
        }
        self.meter.spend(Limits::new_tenants_quota(rate), 1, now)?;
        if self.admitted.len() >= Self::ADMITTED_MAX {
            self.admitted.clear();
        }
        self.admitted.insert(tenant.clone());
        Ok(())
    }
}

impl Directory {
    /// Tenants that are remembered; past it the memory starts anew.
    const MAX: usize = 100_000;

    pub(crate) fn new(store: Arc<dyn Store>, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let known = Known { active: HashSet::default(), generation: 0, births: Births::new() };
        Self { store, settings, clock, known: Arc::new(Mutex::new(known)) }
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
        let Some(rate) = self.settings.get().limits.new_tenants.0 else { return Ok(()) };
        let admitted = self.known.lock().births.admit(tenant, rate.0, self.clock.now());
        admitted.map_err(|Exceeded(wait)| {
            let detail = "Tenants come into being faster than they may (limits.new_tenants). Try again, or have an operator make the tenant.";
            Problem::new(Kind::RateLimited, detail).with("limit", "limits.new_tenants").retry_after(wait)
        })
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("known", &self.known.lock().active.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TEN: Rate = Rate { count: 10, per: Duration::from_secs(1) };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_secs(1_000) + Duration::from_millis(ms)
    }

    fn tenant(n: usize) -> TenantId {
        TenantId::new(format!("t{n}")).expect("valid")
    }

    #[test]
    fn tenants_come_into_being_at_a_bounded_rate() {
        let mut births = Births::new();
        let at_once = (0..200).filter(|n| births.admit(&tenant(*n), TEN, at(0)).is_ok()).count();
        assert_eq!(at_once, 100);
        assert_eq!(births.admit(&tenant(200), TEN, at(50)), Err(Exceeded(Duration::from_millis(50))));
        assert_eq!(births.admit(&tenant(200), TEN, at(100)), Ok(()));
    }

    #[test]
    fn many_first_uses_of_one_tenant_count_as_one() {
        let mut births = Births::new();
        let mut admit = |n, ms| births.admit(&tenant(n), TEN, at(ms)).is_ok();
        assert!((0..1_000).all(|_| admit(0, 0)));
        assert_eq!((1..1_000).filter(|n| admit(*n, 0)).count(), 99);
        assert!(admit(0, 0) && !admit(999, 0));
        assert!(admit(999, 1_000));
    }
}
