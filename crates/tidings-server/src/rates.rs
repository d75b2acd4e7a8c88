//! What each of many has spent: a bounded table of [`Meter`]s.

use std::{collections::HashMap, hash::Hash, time::Duration};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tidings_core::{Exceeded, Left, Meter, Quota, Timestamp};

/// What each key has spent of its `N` quotas. Keys that have rested are forgotten; where more than `max` are busy at one
/// time, those that come besides spend without being counted.
#[derive(Debug)]
pub(crate) struct Rates<K, const N: usize = 1> {
    max: usize,
    spent: Mutex<Spent<K, N>>,
}

#[derive(Debug)]
struct Spent<K, const N: usize> {
    meters: HashMap<K, [Meter; N], RandomState>,
    /// No sweep before this: looking at all keys costs too much to be done for each stranger.
    sweep_at: Timestamp,
}

/// So much of one of a key's quotas.
#[derive(Debug, Clone)]
pub(crate) struct Cost<K> {
    pub(crate) key: K,
    /// Which of the key's meters.
    pub(crate) meter: usize,
    pub(crate) quota: Quota,
    pub(crate) amount: u32,
}

const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl<K: Eq + Hash + Clone> Rates<K> {
    /// Spends `cost` of `key`'s one quota.
    pub(crate) fn spend(&self, key: K, quota: Quota, cost: u32, now: Timestamp) -> Result<Left, Exceeded> {
        let spent = self.spend_all(&[Cost { key, meter: 0, quota, amount: cost }], now);
        spent.map(|left| left[0]).map_err(|(_, exceeded)| exceeded)
    }

    /// Takes a spending back, as if it had not been.
    pub(crate) fn give_back(&self, key: &K, quota: Quota, cost: u32) {
        if let Some(meters) = self.spent.lock().meters.get_mut(key) {
            meters[0].give_back(quota, cost);
        }
    }
}

impl<K: Eq + Hash + Clone, const N: usize> Rates<K, N> {
    pub(crate) fn new(max: usize) -> Self {
        let meters = HashMap::default();
        Self { max, spent: Mutex::new(Spent { meters, sweep_at: Timestamp::default() }) }
    }

    /// Spends all of it or nothing: then which of them was the first that there is not enough of.
    pub(crate) fn spend_all(
        &self,
        costs: &[Cost<K>],
        now: Timestamp,
    ) -> Result<SmallVec<[Left; 4]>, (usize, Exceeded)> {
        let mut spent = self.spent.lock();
        for (at, cost) in costs.iter().enumerate() {
            if let Some(meters) = spent.meters.get_mut(&cost.key) {
                meters[cost.meter].look(cost.quota, cost.amount, now).map_err(|exceeded| (at, exceeded))?;
            }
        }
        Ok(costs.iter().map(|cost| spent.spend(cost, self.max, now)).collect())
    }

    /// Whether there is enough of all of it.
    pub(crate) fn look(&self, costs: &[Cost<K>], now: Timestamp) -> Result<(), (usize, Exceeded)> {
        let mut spent = self.spent.lock();
        for (at, cost) in costs.iter().enumerate() {
            if let Some(meters) = spent.meters.get_mut(&cost.key) {
                meters[cost.meter].look(cost.quota, cost.amount, now).map_err(|exceeded| (at, exceeded))?;
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.spent.lock().meters.len()
    }
}

impl<K: Eq + Hash + Clone, const N: usize> Spent<K, N> {
    fn spend(&mut self, cost: &Cost<K>, max: usize, now: Timestamp) -> Left {
        const ENOUGH: &str = "it was looked at, or nothing is spent";
        let Cost { key, meter, quota, amount } = cost;
        if let Some(meters) = self.meters.get_mut(key) {
            return meters[*meter].spend(*quota, *amount, now).expect(ENOUGH);
        }
        let mut meters = [Meter::NEW; N];
        let left = meters[*meter].spend(*quota, *amount, now).expect(ENOUGH);
        if self.has_room(max, now) {
            self.meters.insert(key.clone(), meters);
        }
        left
    }

    fn has_room(&mut self, max: usize, now: Timestamp) -> bool {
        if self.meters.len() < max {
            return true;
        }
        // A clock that was set back must not put the sweep off.
        if self.sweep_at <= now || self.sweep_at > now + SWEEP_EVERY {
            self.meters.retain(|_, meters| !meters.iter().all(|meter| meter.is_idle(now)));
            self.sweep_at = now + SWEEP_EVERY;
        }
        self.meters.len() < max
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::Rate;

    use super::*;

    const TEN: Quota = Quota::twice(Rate { count: 10, per: Duration::from_secs(1) });

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_secs(1_000) + Duration::from_millis(ms)
    }

    #[test]
    fn each_key_has_its_own() {
        let rates = Rates::new(10);
        let passed = |key: &'static str| (0..50).filter(|_| rates.spend(key, TEN, 1, at(0)).is_ok()).count();
        assert_eq!((passed("a"), passed("b"), passed("a")), (20, 20, 0));
    }

    #[test]
    fn what_is_given_back_was_not_spent() {
        let rates = Rates::new(10);
        assert_eq!(rates.spend("a", TEN, 15, at(0)).expect("enough").remaining, 5);
        assert_eq!(rates.spend("a", TEN, 5, at(0)).expect("enough").remaining, 0);
        rates.give_back(&"a", TEN, 5);
        rates.give_back(&"nobody", TEN, 5);
        assert!(rates.spend("a", TEN, 6, at(0)).is_err());
        assert_eq!(rates.spend("a", TEN, 5, at(0)).expect("enough").remaining, 0);
        rates.give_back(&"a", TEN, 100);
        assert_eq!(rates.spend("a", TEN, 20, at(0)).expect("the whole, and no more").remaining, 0);
        assert!(rates.spend("a", TEN, 1, at(0)).is_err());
    }

    #[test]
    fn all_of_it_is_spent_or_nothing() {
        let rates = Rates::<_, 2>::new(10);
        let cost = |key, meter, amount| Cost { key, meter, quota: TEN, amount };
        let both = [cost("a", 0, 1), cost("b", 1, 15)];
        assert_eq!(rates.spend_all(&both, at(0)).map(|left| left.len()), Ok(2));
        assert_eq!(rates.spend_all(&both, at(0)), Err((1, Exceeded(Duration::from_secs(1)))));
        assert_eq!(rates.spend_all(&[cost("a", 0, 1)], at(0)).expect("enough")[0].remaining, 18);
        assert_eq!(rates.look(&[cost("b", 0, 20)], at(0)), Ok(()), "another meter of the same key");
        assert!(rates.look(&[cost("b", 1, 6)], at(0)).is_err());
    }

    #[test]
    fn keys_that_have_rested_make_room_and_those_that_find_none_are_let_in() {
        let rates = Rates::new(100);
        for n in 0..150 {
            assert!(rates.spend(n, TEN, 20, at(0)).is_ok());
        }
        assert_eq!(rates.len(), 100, "bounded");
        assert!(rates.spend(149, TEN, 20, at(0)).is_ok(), "it is not counted");
        assert!(rates.spend(0, TEN, 1, at(0)).is_err(), "those that are counted still are");
        assert!(rates.spend(200, TEN, 20, at(3_000)).is_ok());
        assert_eq!(rates.len(), 1);
    }
}
