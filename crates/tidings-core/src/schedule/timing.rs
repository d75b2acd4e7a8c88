use std::time::Duration;

use crate::Timestamp;

use super::{Cron, Zone};

/// When a schedule fires: a cron expression, read off the wall clocks of a zone.
///
/// Where the clocks are moved, it does what cron users know. An expression that asks for every hour of the
/// day follows time itself: it fires on through an hour that comes twice, and a reading that is skipped
/// is no time of its. Any other asks for readings: one that comes twice fires the first time,
/// one that is skipped fires when the clocks skip it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    pub cron: Cron,
    pub zone: Zone,
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("it asks for a day that never comes")]
pub struct TimingError;

/// How many moves of the clocks, or readings of an hour that comes twice, are passed in search of the next
/// time. Both lie far beyond what 44 years of any zone have.
const PASSED_MAX: usize = 10_000;

/// The finest that an expression can tell apart.
const STEP: Duration = Duration::from_mins(1);

impl Timing {
    /// Refuses what never fires.
    pub fn validate(&self, now: Timestamp) -> Result<(), TimingError> {
        self.next_after(now).map(drop).ok_or(TimingError)
    }

    /// The first fire time after `after`; `None` where none comes within 40 years.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let second = after.as_secs();
        let next =
            if self.cron.is_every_hour() { self.next_second(second) } else { self.next_reading(second) };
        next.map(Timestamp::from_secs)
    }

    /// The newest fire time that is not after `now`, and the first that is. `first` is one that is not.
    pub(super) fn newest(&self, first: Timestamp, now: Timestamp) -> (Timestamp, Option<Timestamp>) {
        let next = self.next_after(now);
        let comes = |after: Timestamp| self.next_after(after).filter(|at| *at <= now);
        if comes(first).is_none() {
            return (first, next);
        }
        // Further and further back, until one comes after `low`: then none comes after `high`.
        let (mut low, mut high, mut back) = (now - STEP, now, STEP);
        while low > first && comes(low).is_none() {
            (high, back) = (low, back * 2);
            low = now - back;
        }
        low = low.max(first);
        while high.since(low) > STEP {
            let middle = low + high.since(low) / 2;
            if comes(middle).is_some() { low = middle } else { high = middle }
        }
        let mut newest = comes(low).unwrap_or(first);
        while let Some(at) = comes(newest) {
            newest = at;
        }
        (newest, next)
    }

    /// Follows time: reads the clocks of one stretch between two moves after the other.
    fn next_second(&self, after: i64) -> Option<i64> {
        let (mut from, mut offset) = (after, self.zone.offset(after)?);
        for _ in 0..PASSED_MAX {
            let at = self.cron.next(from + offset)? - offset;
            match self.zone.next_shift(from) {
                Some(shift) if shift <= at => {
                    // The moment of the move itself reads as after it.
                    offset = self.zone.offset(shift)?;
                    from = shift - 1;
                    if let Some(at) =
                        self.cron.next(from + offset).map(|c| c - offset).filter(|at| *at == shift)
                    {
                        return Some(at);
                    }
                    from = shift;
                }
                _ => return Some(at),
            }
        }
        None
    }

    /// Follows the readings of the wall clock, each at its first time.
    fn next_reading(&self, after: i64) -> Option<i64> {
        let mut reading = after + self.zone.offset(after)?;
        for _ in 0..PASSED_MAX {
            reading = self.cron.next(reading)?;
            // In the second run of an hour, readings that are still to come have had their time.
            if let Some(at) = self.zone.first(reading).filter(|at| *at > after) {
                return Some(at);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn timing(cron: &str, zone: &str) -> Timing {
        Timing { cron: cron.parse().expect("an expression"), zone: zone.parse().expect("a zone") }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    /// The fire times after a moment, as text.
    fn times(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let timing = timing(cron, zone);
        let mut now = at(after);
        (0..count)
            .map(|_| {
                now = timing.next_after(now).expect("it goes on");
                now.to_string()[..16].to_owned()
            })
            .collect()
    }

    #[test]
    fn the_usual_days() {
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-01-10T00:00:00Z", 2),
            ["2026-01-10T01:30", "2026-01-11T01:30"]
        );
        assert_eq!(times("@hourly", "Asia/Kathmandu", "2026-01-10T00:00:00.5Z", 1), ["2026-01-10T00:15"]);
        assert_eq!(
            times("0 0 L * *", "UTC", "2026-02-01T00:00:00Z", 2),
            ["2026-02-28T00:00", "2026-03-31T00:00"]
        );
        assert_eq!(times("0 9 * * MON#1", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-01-05T09:00"]);
    }

    #[test]
    fn a_time_that_does_not_exist_fires_at_the_jump() {
        // Berlin skips 02:00 to 03:00, which is 01:00 UTC.
        let spring = "2026-03-28T12:00:00Z";
        assert_eq!(times("30 2 * * *", "Europe/Berlin", spring, 2), ["2026-03-29T01:00", "2026-03-30T00:30"]);
        assert_eq!(
            times("*/20 2 * * *", "Europe/Berlin", spring, 2),
            ["2026-03-29T01:00", "2026-03-30T00:00"],
            "all of them once"
        );
        assert_eq!(
            times("30 2,3 * * *", "Europe/Berlin", spring, 2),
            ["2026-03-29T01:00", "2026-03-29T01:30"]
        );
        assert_eq!(
            times("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 3),
            ["2026-03-29T00:30", "2026-03-29T01:30", "2026-03-29T02:30"],
            "every hour is every hour"
        );
        // Apia had no December 30, 2011: its day ended at 10:00 UTC.
        assert_eq!(times("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", 1), ["2011-12-30T10:00"]);
    }

    #[test]
    fn a_time_that_exists_twice_fires_once() {
        // Berlin has 02:00 to 03:00 twice: from 00:00 and from 01:00 UTC.
        let autumn = "2026-10-24T12:00:00Z";
        assert_eq!(times("30 2 * * *", "Europe/Berlin", autumn, 2), ["2026-10-25T00:30", "2026-10-26T01:30"]);
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1),
            ["2026-10-26T01:30"],
            "not again"
        );
        assert_eq!(
            times("30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", 3),
            ["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"],
            "every hour is every hour"
        );
        // Lord Howe moves by half an hour: 01:30 to 02:00 comes twice.
        assert_eq!(
            times("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2),
            ["2026-04-04T14:45", "2026-04-05T15:15"]
        );
    }

    const CRONS: [&str; 9] = [
        "* * * * *",
        "*/7 * * * *",
        "30 * * * *",
        "30 2 * * *",
        "*/20 1-3 * * *",
        "15 0,1,2,23 * * *",
        "* 2 * * *",
        "0 */2 * * 0",
        "45 1 * 3,10 SAT,SUN",
    ];
    /// Zones with a day on which their clocks are moved.
    const MOVES: [(&str, &str); 9] = [
        ("Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:00:00Z"),
        ("America/New_York", "2026-11-01T06:00:00Z"),
        ("America/St_Johns", "2026-03-08T05:30:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("Asia/Kathmandu", "2026-03-01T00:00:00Z"),
    ];

    /// The same question asked of every minute: does the clock read something that is asked for?
    fn minute_by_minute(timing: &Timing, from: i64, to: i64) -> Vec<i64> {
        let asked = |reading: i64| timing.cron.next(reading - 1) == Some(reading);
        let reading = |second: i64| second + timing.zone.offset(second).expect("in range");
        let mut seen = reading(from - 86_400 * 2);
        let mut fires = Vec::new();
        for second in ((from - 86_400 * 2)..=to).step_by(60) {
            let now = reading(second);
            let fire = if timing.cron.is_every_hour() {
                asked(now)
            } else {
                // Everything that the clock passed since the last minute, and had not read before.
                let fresh = (seen + 60..=now).step_by(60).any(asked);
                seen = seen.max(now);
                fresh
            };
            if fire && second > from {
                fires.push(second);
            }
        }
        fires
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn it_fires_when_the_clock_says_so(cron in 0..CRONS.len(), place in 0..MOVES.len(), before in 0_i64..30) {
            let (zone, moved) = MOVES[place];
            let timing = timing(CRONS[cron], zone);
            let from = at(moved).as_secs() - before * 3_600;
            let to = from + 40 * 3_600;
            let mut found = Vec::new();
            let mut now = Timestamp::from_secs(from);
            while let Some(next) = timing.next_after(now).filter(|next| next.as_secs() <= to) {
                found.push(next.as_secs());
                now = next;
            }
            prop_assert_eq!(found, minute_by_minute(&timing, from, to), "{} {}", CRONS[cron], zone);
        }

        #[test]
        fn the_newest_is_the_last_of_all(cron in 0..CRONS.len(), place in 0..MOVES.len(), span in 0_i64..500_000) {
            let (zone, moved) = MOVES[place];
            let timing = timing(CRONS[cron], zone);
            let first = timing.next_after(at(moved) - Duration::from_hours(50)).expect("there is one");
            let now = first + Duration::from_secs(span as u64);
            let mut last = first;
            while let Some(next) = timing.next_after(last).filter(|next| *next <= now) {
                last = next;
            }
            prop_assert_eq!(timing.newest(first, now), (last, timing.next_after(last)));
        }
    }

    #[test]
    fn what_never_comes_is_refused() {
        let now = at("2026-01-01T00:00:00Z");
        assert_eq!(timing("0 0 30 2 *", "UTC").validate(now), Err(TimingError));
        assert_eq!(timing("0 0 29 2 *", "UTC").validate(now), Ok(()));
    }
}
