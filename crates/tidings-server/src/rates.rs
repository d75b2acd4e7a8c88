//! How much of something each of many may have in a time: the generic cell rate algorithm, which keeps one
//! moment for each key and needs no timer.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::Rate;

/// So much in so long, and so much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) rate: Rate,
    pub(crate) burst: u32,
}

/// What is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// So much may be spent at once now.
    pub(crate) remaining: u32,
    /// When all of it may be again.
    pub(crate) full_in: Duration,
}

/// Nothing was spent: there is enough after so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded(pub(crate) Duration);

/// What each key has spent. Keys that have rested are forgotten; where more than `max` are busy at one time,
/// those that come besides spend without being counted.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    origin: Instant,
    max: usize,
    spent: Mutex<Spent<K>>,
}

#[derive(Debug)]
struct Spent<K> {
    /// When what each key has spent will be made good, in nanoseconds since the origin.
    until: HashMap<K, u64, RandomState>,
    /// No sweep before this: looking at all keys costs too much to be done for each stranger.
    sweep_at: u64,
}

const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Quota {
    /// How long one of what is spent takes to come back.
    fn interval(self) -> u64 {
        (nanos(self.rate.per) / u64::from(self.rate.count.max(1))).max(1)
    }

    fn whole(self) -> u64 {
        self.interval().saturating_mul(u64::from(self.burst.max(1)))
    }
}

impl<K: Eq + Hash> Rates<K> {
    pub(crate) fn new(max: usize) -> Self {
        let spent = Spent { until: HashMap::default(), sweep_at: 0 };
        Self { origin: Instant::now(), max, spent: Mutex::new(spent) }
    }

    /// Spends `cost` of `key`'s quota. What costs more than the whole of it takes the whole.
    pub(crate) fn spend(&self, key: K, quota: Quota, cost: u32, now: Instant) -> Result<Left, Exceeded> {
        let now = nanos(now.saturating_duration_since(self.origin));
        let whole = quota.whole();
        let cost = quota.interval().saturating_mul(u64::from(cost)).min(whole);
        let mut spent = self.spent.lock();
        let known = spent.until.get(&key).copied();
        let until = known.unwrap_or_default().max(now).saturating_add(cost);
        let debt = until - now;
        if debt > whole {
            return Err(Exceeded(Duration::from_nanos(debt - whole)));
        }
        if known.is_some() || spent.has_room(self.max, now) {
            spent.until.insert(key, until);
        }
        let remaining = ((whole - debt) / quota.interval()) as u32;
        Ok(Left { remaining, full_in: Duration::from_nanos(debt) })
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.spent.lock().until.len()
    }
}

impl<K: Eq + Hash> Spent<K> {
    fn has_room(&mut self, max: usize, now: u64) -> bool {
        if self.until.len() < max {
            return true;
        }
        if self.sweep_at <= now {
            self.until.retain(|_, until| *until > now);
            self.sweep_at = now + nanos(SWEEP_EVERY);
        }
        self.until.len() < max
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN: Quota = Quota { rate: Rate { count: 10, per: Duration::from_secs(1) }, burst: 20 };

    #[test]
    fn a_burst_is_given_then_one_at_a_time_and_a_rest_makes_it_whole() {
        let rates = Rates::new(10);
        let start = Instant::now();
        let spend = |ms: u64| rates.spend("a", TEN, 1, start + Duration::from_millis(ms));
        for n in 0..20 {
            assert_eq!(spend(0).map(|left| left.remaining), Ok(19 - n));
        }
        let Err(Exceeded(wait)) = spend(0) else { panic!("the burst is spent") };
        assert!(wait <= Duration::from_millis(100) && wait > Duration::from_millis(90), "{wait:?}");
        assert!(spend(101).is_ok() && spend(101).is_err(), "one has come back");
        assert!(rates.spend("b", TEN, 1, start).is_ok(), "another key");
        let left = spend(5_000).expect("rested");
        assert_eq!((left.remaining, left.full_in), (19, Duration::from_millis(100)));
    }

    #[test]
    fn what_costs_more_than_there_ever_is_takes_all_of_it() {
        let rates = Rates::new(10);
        let start = Instant::now();
        assert_eq!(rates.spend("a", TEN, 1_000, start).map(|left| left.remaining), Ok(0));
        assert!(rates.spend("a", TEN, 1_000, start + Duration::from_secs(1)).is_err());
        assert!(rates.spend("a", TEN, 1_000, start + Duration::from_secs(3)).is_ok());
    }

    #[test]
    fn keys_that_have_rested_make_room_and_those_that_find_none_are_let_in() {
        let rates = Rates::new(100);
        let start = Instant::now();
        for n in 0..150 {
            assert!(rates.spend(n, TEN, 20, start).is_ok());
        }
        assert_eq!(rates.len(), 100, "bounded");
        assert!(rates.spend(149, TEN, 20, start).is_ok(), "it is not counted");
        assert!(rates.spend(0, TEN, 1, start).is_err(), "those that are counted still are");
        assert!(rates.spend(200, TEN, 20, start + Duration::from_secs(3)).is_ok());
        assert_eq!(rates.len(), 1);
    }

    proptest! {
        /// In any window no more passes than the burst and what comes back meanwhile.
        #[test]
        fn no_more_passes_than_the_rate(count in 1_u32..50, burst in 1_u32..100, steps in prop::collection::vec((0_u64..500, 1_u32..4), 1..200)) {
            let quota = Quota { rate: Rate { count, per: Duration::from_secs(1) }, burst };
            let rates = Rates::new(10);
            let start = Instant::now();
            let (mut at, mut passed) = (0, 0_u64);
            for (pause, cost) in steps {
                at += pause;
                if rates.spend((), quota, cost, start + Duration::from_millis(at)).is_ok() {
                    passed += u64::from(cost.min(burst));
                }
                let most = u64::from(burst) + u64::from(count) * at / 1_000 + 1;
                prop_assert!(passed <= most, "{passed} of {most} after {at} ms");
            }
        }
    }
}
