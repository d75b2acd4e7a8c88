//! How fast: rates of tenants and of endpoints.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::{Rate, TenantId, Timestamp};

/// A rate as the generic cell rate algorithm keeps it: one moment. After a quiet period a whole period's worth may go at
/// once; in the long run it is never more than the rate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    rate: Rate,
    /// When all that was reserved would have gone, one by one. In nanoseconds, since a rate may be a million in a second.
    until: i64,
}

impl Pace {
    pub(super) const fn new(rate: Rate) -> Self {
        Self { rate, until: 0 }
    }

    /// Takes the next turn and says when it is: now or later. Turns are handed out in order, so whoever holds one is
    /// overtaken by nobody.
    pub(super) fn reserve(&mut self, now: Timestamp) -> Timestamp {
        let per = self.rate.per.as_nanos() as i64;
        let now = now.as_micros() * 1_000;
        self.until = self.until.max(now) + per / i64::from(self.rate.count);
        Timestamp::from_micros(now.max(self.until - per) / 1_000)
    }

    /// Whether nothing is left of what was reserved.
    fn is_idle(&self, now: Timestamp) -> bool {
        self.until <= now.as_micros() * 1_000
    }
}

/// The paces of tenants on this node.
#[derive(Debug, Default)]
pub(super) struct Paces(Mutex<HashMap<TenantId, Pace, RandomState>>);

impl Paces {
    /// Those that are idle go when there are so many, and so on: there are never many more than tenants that send.
    const KEPT: usize = 1_024;

    pub(super) fn reserve(&self, tenant: &TenantId, rate: Rate, now: Timestamp) -> Timestamp {
        let mut paces = self.0.lock();
        if let Some(pace) = paces.get_mut(tenant) {
            pace.rate = rate;
            return pace.reserve(now);
        }
        if paces.len() >= Self::KEPT && paces.len() == paces.capacity() {
            paces.retain(|_, pace| !pace.is_idle(now));
        }
        paces.entry(tenant.clone()).or_insert(Pace::new(rate)).reserve(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_periods_worth_goes_at_once_and_then_one_by_one() {
        let mut pace = Pace::new(Rate { count: 3, per: Duration::from_mins(1) });
        let at = |secs: i64| Timestamp::from_secs(1_000 + secs);
        let turns: Vec<_> = (0..6).map(|_| pace.reserve(at(0))).collect();
        assert_eq!(turns, [at(0), at(0), at(0), at(20), at(40), at(60)]);
        assert_eq!(pace.reserve(at(200)), at(200), "a quiet time makes up for it");
    }

    #[test]
    fn tenants_have_paces_of_their_own() {
        let (paces, now) = (Paces::default(), Timestamp::from_secs(1_000));
        let rate = Rate { count: 1, per: Duration::from_secs(1) };
        let reserve = |name: &str| paces.reserve(&TenantId::new(name).expect("valid"), rate, now);
        assert_eq!(reserve("a"), now);
        assert_eq!(reserve("a"), Timestamp::from_secs(1_001));
        assert_eq!(reserve("b"), now);
    }
}
