//! Which tenants there are, remembered: every request asks.

mod admin;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tidings_core::TenantId;
use tidings_store::{Store, TenantState};

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

/// A bounded memory of tenants that exist. This process makes every change to them, and forgets what
/// it changes; what does not exist is never remembered.
#[derive(Clone)]
pub(crate) struct Directory {
    store: Arc<dyn Store>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Known {
    standings: HashMap<TenantId, Standing, foldhash::fast::RandomState>,
    /// Rises with each change, so that a read that a change has overtaken is not remembered.
    generation: u64,
    births: Births,
}

/// How many tenants may come into being by use: a bucket of 100, filled with 10 a second.
#[derive(Debug)]
struct Births {
    tokens: f64,
    at: Instant,
}

impl Births {
    const BURST: f64 = 100.0;
    const PER_SECOND: f64 = 10.0;

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
        let births = Births { tokens: Births::BURST, at: Instant::now() };
        let known = Known { standings: HashMap::default(), generation: 0, births };
        Self { store, known: Arc::new(Mutex::new(known)) }
    }

    pub(crate) async fn standing(&self, tenant: &TenantId) -> Result<Standing, Problem> {
        let generation = {
            let known = self.known.lock();
            if let Some(standing) = known.standings.get(tenant) {
                return Ok(*standing);
            }
            known.generation
        };
        let record = self.store.tenant(tenant).await.map_err(|e| refusal::of_read(&e))?;
        let standing = match record.map(|r| r.state) {
            None => return Ok(Standing::Unknown),
            Some(TenantState::Active) => Standing::Active,
            Some(TenantState::Suspended) => Standing::Suspended,
        };
        let mut known = self.known.lock();
        if known.generation == generation {
            if known.standings.len() >= Self::MAX {
                known.standings.clear();
            }
            known.standings.insert(tenant.clone(), standing);
        }
        Ok(standing)
    }

    /// Call it after a tenant's state changed.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        let mut known = self.known.lock();
        known.standings.remove(tenant);
        known.generation += 1;
    }

    /// Takes the right to make one tenant.
    pub(crate) fn admit_new(&self) -> Result<(), Problem> {
        if self.known.lock().births.take(Instant::now()) {
            return Ok(());
        }
        let detail =
            "Too many tenants are being made at once. Try again, or have an operator make the tenant.";
        Err(Problem::new(Kind::RateLimited, detail).retry_after(Duration::from_secs(1)))
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("known", &self.known.lock().standings.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_come_into_being_at_a_bounded_rate() {
        let start = Instant::now();
        let mut births = Births { tokens: Births::BURST, at: start };
        let at_once = (0..200).filter(|_| births.take(start)).count();
        assert_eq!(at_once, 100);
        assert!(!births.take(start + Duration::from_millis(50)));
        assert!(births.take(start + Duration::from_millis(151)));
    }
}
