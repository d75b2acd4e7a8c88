//! How fast: rates of tenants and of endpoints.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{Exceeded, Meter, Quota, Rate, TenantId, Timestamp};

/// Hands out turns at a rate: after a quiet period a whole period's worth may go at once; in the long run it is never
/// more than the rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    rate: Rate,
    meter: Meter,
}

impl Pace {
    pub(super) const fn new(rate: Rate) -> Self {
        Self { rate, meter: Meter::NEW }
    }

    /// Takes the next turn and says when it is: now or later.
    pub(super) fn reserve(&mut self, now: Timestamp) -> Timestamp {
        self.meter.reserve(Quota::plain(self.rate), now)
    }

    /// Takes a turn that is now, or says in how long there will be one.
    fn spend(&mut self, now: Timestamp) -> Result<(), Duration> {
        self.meter.spend(Quota::plain(self.rate), 1, now).map(drop).map_err(|Exceeded(wait)| wait)
    }

    /// Whether nothing is left of what was reserved.
    fn is_idle(&self, now: Timestamp) -> bool {
        self.meter.is_idle(now)
    }
}

/// The paces of tenants on this node.
#[derive(Debug, Default)]
pub(super) struct Paces(Mutex<HashMap<TenantId, Pace, RandomState>>);

impl Paces {
    /// Those that are idle go when there are so many, and so on: there are never many more than tenants that send.
    const KEPT: usize = 1_024;

    pub(super) fn reserve(&self, tenant: &TenantId, rate: Rate, now: Timestamp) -> Timestamp {
        self.with(tenant, rate, now, |pace| pace.reserve(now))
    }

    /// Takes a turn that is now, or says in how long there will be one.
    pub(super) fn spend(&self, tenant: &TenantId, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        self.with(tenant, rate, now, |pace| pace.spend(now))
    }

    fn with<T>(&self, tenant: &TenantId, rate: Rate, now: Timestamp, act: impl FnOnce(&mut Pace) -> T) -> T {
        let mut paces = self.0.lock();
        if let Some(pace) = paces.get_mut(tenant) {
            pace.rate = rate;
            return act(pace);
        }
        if paces.len() >= Self::KEPT && paces.len() == paces.capacity() {
            paces.retain(|_, pace| !pace.is_idle(now));
        }
        act(paces.entry(tenant.clone()).or_insert(Pace::new(rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_have_paces_of_their_own() {
        let (paces, now) = (Paces::default(), Timestamp::from_secs(1_000));
        let rate = Rate { count: 1, per: Duration::from_secs(1) };
        let reserve = |name: &str| paces.reserve(&TenantId::new(name).expect("valid"), rate, now);
        assert_eq!(reserve("a"), now);
        assert_eq!(reserve("a"), Timestamp::from_secs(1_001));
        assert_eq!(reserve("b"), now);
        let spend = |name: &str| paces.spend(&TenantId::new(name).expect("valid"), rate, now);
        assert_eq!((spend("c"), spend("c")), (Ok(()), Err(Duration::from_secs(1))));
        assert_eq!(spend("a"), Err(Duration::from_secs(2)), "what is delivered counts too");
    }
}
