use std::time::Duration;

use crate::{Rate, Timestamp};

/// So much in so long, and so much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub rate: Rate,
    pub burst: u32,
}

/// What is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// So much may be spent at once now.
    pub remaining: u32,
    /// When all of it may be again.
    pub full_in: Duration,
}

/// Nothing was spent: there is enough after so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded(pub Duration);

/// What was spent of one quota, by the generic cell rate algorithm: one moment, and no timer.
///
/// The quota is an argument, so that it may change while the meter runs. A clock that is set back keeps nobody waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meter {
    /// When what was spent will be made good, in picoseconds since 1970: a rate may be a thousand million in a second.
    until: u128,
    /// When something was spent last.
    seen: Timestamp,
    /// How long one of it took to come back by the quota of then.
    interval: u128,
}

/// Whoever reads the clock first may come second: so much is no sign that it was set back.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

impl Quota {
    /// Twice as much at once as in the rate's time.
    pub const fn twice(rate: Rate) -> Self {
        Self { rate, burst: rate.count.saturating_mul(2) }
    }

    /// As much at once as in the rate's time.
    pub const fn plain(rate: Rate) -> Self {
        Self { rate, burst: rate.count }
    }

    /// How long the whole of it takes to come back.
    pub fn window(self) -> Duration {
        duration(self.whole())
    }

    /// How long one of what is spent takes to come back.
    fn interval(self) -> u128 {
        (self.rate.per.as_nanos() * 1_000 / u128::from(self.rate.count.max(1))).max(1)
    }

    fn whole(self) -> u128 {
        self.interval() * u128::from(self.burst.max(1))
    }

    fn cost(self, of: u32) -> u128 {
        self.interval() * u128::from(of)
    }
}

impl Meter {
    /// Nothing is spent.
    pub const NEW: Self = Self { until: 0, seen: Timestamp::from_micros(0), interval: 0 };

    /// Spends `cost`. What costs more than the whole quota waits until all of it is there, and is paid for afterwards.
    pub fn spend(&mut self, quota: Quota, cost: u32, now: Timestamp) -> Result<Left, Exceeded> {
        let left = self.look(quota, cost, now)?;
        self.until = self.until.max(picos(now)) + quota.cost(cost);
        self.seen = now;
        Ok(left)
    }

    /// Takes a spending back, as if it had not been. What has come back meanwhile is not given twice.
    pub fn give_back(&mut self, quota: Quota, cost: u32) {
        self.until = self.until.saturating_sub(quota.cost(cost));
    }

    /// What spending `cost` would leave.
    pub fn look(&mut self, quota: Quota, cost: u32, now: Timestamp) -> Result<Left, Exceeded> {
        self.follow(quota, now);
        let (debt, whole, cost) = (self.until.saturating_sub(picos(now)), quota.whole(), quota.cost(cost));
        let needed = debt + cost.min(whole);
        if needed > whole {
            return Err(Exceeded(duration(needed - whole)));
        }
        let remaining = (whole.saturating_sub(debt + cost) / quota.interval()) as u32;
        Ok(Left { remaining, full_in: duration(debt + cost) })
    }

    /// Goes back with a clock that was set back, so that nobody waits for the time that it has lost; and where the rate has
    /// changed, takes as many as were spent for spent.
    fn follow(&mut self, quota: Quota, now: Timestamp) {
        let back = self.seen.since(now);
        if back > CLOCKS_DIFFER {
            self.until = self.until.saturating_sub(back.as_nanos() * 1_000);
            self.seen = now;
        }
        let interval = quota.interval();
        if self.interval != interval {
            let debt = self.until.saturating_sub(picos(now));
            if self.interval > 0 && debt > 0 {
                self.until = picos(now) + debt * interval / self.interval;
            }
            self.interval = interval;
        }
    }

    /// Takes the next turn and says when it is: now or later. Turns are handed out in order, so whoever holds one is
    /// overtaken by nobody.
    pub fn reserve(&mut self, quota: Quota, now: Timestamp) -> Timestamp {
        self.follow(quota, now);
        self.until = self.until.max(picos(now)) + quota.interval();
        self.seen = now;
        let turn = self.until.saturating_sub(quota.whole()) / 1_000_000;
        now.max(Timestamp::from_micros(turn as i64))
    }

    /// Whether nothing is left of what was spent: then it is as good as new.
    pub fn is_idle(self, now: Timestamp) -> bool {
        self.until <= picos(now.max(self.seen))
    }
}

fn picos(at: Timestamp) -> u128 {
    at.as_micros().max(0) as u128 * 1_000_000
}

/// Rounded up, so that nobody comes back too early.
fn duration(picos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(picos.div_ceil(1_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN: Quota = Quota::twice(Rate { count: 10, per: Duration::from_secs(1) });

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_secs(1_000) + Duration::from_millis(ms)
    }

    fn spend(meter: &mut Meter, quota: Quota, cost: u32, ms: u64) -> Result<Left, Exceeded> {
        meter.spend(quota, cost, at(ms))
    }

    #[test]
    fn a_burst_is_given_then_one_at_a_time_and_a_rest_makes_it_whole() {
        let mut meter = Meter::NEW;
        for n in 0..20 {
            assert_eq!(spend(&mut meter, TEN, 1, 0).map(|left| left.remaining), Ok(19 - n));
        }
        assert_eq!(spend(&mut meter, TEN, 1, 0), Err(Exceeded(Duration::from_millis(100))));
        assert_eq!(spend(&mut meter, TEN, 1, 99), Err(Exceeded(Duration::from_millis(1))));
        assert!(spend(&mut meter, TEN, 1, 100).is_ok() && spend(&mut meter, TEN, 1, 100).is_err());
        let left = spend(&mut meter, TEN, 1, 5_000).expect("rested");
        assert_eq!((left.remaining, left.full_in), (19, Duration::from_millis(100)));
    }

    #[test]
    fn what_costs_more_than_there_is_at_once_is_paid_for_afterwards() {
        let mut meter = Meter::NEW;
        assert!(spend(&mut meter, TEN, 1, 0).is_ok());
        assert_eq!(spend(&mut meter, TEN, 100, 0), Err(Exceeded(Duration::from_millis(100))));
        let left = spend(&mut meter, TEN, 100, 100).expect("all of it is there");
        assert_eq!((left.remaining, left.full_in), (0, Duration::from_secs(10)));
        assert_eq!(spend(&mut meter, TEN, 1, 100), Err(Exceeded(Duration::from_millis(8_100))));
        assert!(spend(&mut meter, TEN, 1, 8_199).is_err() && spend(&mut meter, TEN, 1, 8_200).is_ok());
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting() {
        let mut meter = Meter::NEW;
        assert!(spend(&mut meter, TEN, 20, 3_600_000).is_ok());
        assert_eq!(spend(&mut meter, TEN, 1, 0), Err(Exceeded(Duration::from_millis(100))), "as before");
        assert!(spend(&mut meter, TEN, 1, 100).is_ok() && spend(&mut meter, TEN, 1, 100).is_err());
    }

    #[test]
    fn under_another_rate_as_many_are_spent_as_before() {
        let slow = Quota::twice(Rate { count: 10, per: Duration::from_hours(1) });
        let mut meter = Meter::NEW;
        assert!(spend(&mut meter, slow, 20, 0).is_ok() && spend(&mut meter, slow, 1, 0).is_err());
        let fast = Quota::twice(Rate { count: 100, per: Duration::from_secs(1) });
        assert_eq!(spend(&mut meter, fast, 1, 0).map(|left| left.remaining), Ok(179));
        assert_eq!(
            spend(&mut meter, slow, 1, 0),
            Err(Exceeded(Duration::from_mins(12))),
            "of twenty, 21 are spent"
        );
    }

    #[test]
    fn rates_that_divide_badly_give_their_whole_burst() {
        for count in [3, 7, 1_000_000_000] {
            let quota = Quota { rate: Rate { count, per: Duration::from_secs(1) }, burst: 7 };
            let mut meter = Meter::NEW;
            for n in 0..7 {
                assert_eq!(spend(&mut meter, quota, 1, 0).map(|left| left.remaining), Ok(6 - n), "{count}");
            }
            assert!(spend(&mut meter, quota, 1, 0).is_err());
        }
    }

    #[test]
    fn turns_are_a_periods_worth_at_once_and_then_one_by_one() {
        let quota = Quota::plain(Rate { count: 3, per: Duration::from_mins(1) });
        let mut meter = Meter::NEW;
        let turns: Vec<_> = (0..6).map(|_| meter.reserve(quota, at(0))).collect();
        assert_eq!(turns, [at(0), at(0), at(0), at(20_000), at(40_000), at(60_000)]);
        assert_eq!(meter.reserve(quota, at(200_000)), at(200_000), "a quiet time makes up for it");
        assert!(!meter.is_idle(at(200_000)) && meter.is_idle(at(220_000)));
    }

    proptest! {
        /// In any window no more passes than the burst and what comes back meanwhile.
        #[test]
        fn no_more_passes_than_the_rate(count in 1_u32..50, burst in 1_u32..100, steps in prop::collection::vec((0_u64..500, 1_u32..4), 1..200)) {
            let quota = Quota { rate: Rate { count, per: Duration::from_secs(1) }, burst };
            let mut meter = Meter::NEW;
            let (mut now, mut passed) = (0, 0_u64);
            for (pause, cost) in steps {
                now += pause;
                if spend(&mut meter, quota, cost, now).is_ok() {
                    passed += u64::from(cost);
                }
                let most = u64::from(burst.max(4)) + u64::from(count) * now / 1_000 + 1;
                prop_assert!(passed <= most, "{passed} of {most} after {now} ms");
            }
        }
    }
}
