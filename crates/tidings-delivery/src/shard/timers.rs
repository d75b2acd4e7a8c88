use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

/// The one timer of each connection. Moments are rounded up to a tick, so that thousands of connections
/// do not wake their shard thousands of times; an entry that has become too early is found so when it
/// fires.
#[derive(Debug)]
pub(super) struct Timers {
    start: Instant,
    tick: Duration,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Timers {
    pub(super) fn new(start: Instant, tick: Duration) -> Self {
        Self { start, tick: tick.max(Duration::from_millis(1)), heap: BinaryHeap::new() }
    }

    /// The tick at or after `at`.
    pub(super) fn tick_of(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start).as_nanos();
        u64::try_from(since.div_ceil(self.tick.as_nanos())).unwrap_or(u64::MAX)
    }

    pub(super) fn set(&mut self, tick: u64, target: usize) {
        self.heap.push(Reverse((tick, target)));
    }

    /// How long until the next one fires.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let Reverse((tick, _)) = self.heap.peek()?;
        let offset = u64::try_from(self.tick.as_nanos()).unwrap_or(u64::MAX).saturating_mul(*tick);
        Some((self.start + Duration::from_nanos(offset)).saturating_duration_since(now))
    }

    /// One that has fired, with its tick.
    pub(super) fn fired(&mut self, now: Instant) -> Option<(u64, usize)> {
        if !self.wait(now)?.is_zero() {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_in_order_at_or_after_their_moment() {
        let start = Instant::now();
        let mut timers = Timers::new(start, Duration::from_millis(10));
        let at = |millis| start + Duration::from_millis(millis);
        for (millis, target) in [(25, 1), (11, 2), (20, 3)] {
            timers.set(timers.tick_of(at(millis)), target);
        }
        assert_eq!(timers.fired(at(19)), None);
        assert_eq!(timers.wait(at(19)), Some(Duration::from_millis(1)));
        assert_eq!(timers.fired(at(20)), Some((2, 2)));
        assert_eq!(timers.fired(at(20)), Some((2, 3)));
        assert_eq!(timers.fired(at(25)), None, "rounded up");
        assert_eq!(timers.fired(at(30)), Some((3, 1)));
        assert_eq!(timers.wait(at(30)), None);
    }
}
