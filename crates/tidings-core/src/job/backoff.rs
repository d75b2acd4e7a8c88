use std::time::Duration;

/// How long to wait before the next attempt: `base · 2^(attempt − 1)`, at most `max`, of which a
/// random half is taken off so that failures that came together do not return together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub base: Duration,
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), max: Duration::from_hours(1) }
    }
}

impl Backoff {
    /// The longest that `max` may be.
    pub const MAX: Duration = Duration::from_hours(30 * 24);

    /// `attempt` counts from 1; `unit` is a random number in `0.0..1.0`.
    pub fn delay(self, attempt: u32, unit: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(30);
        let full = self.base.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(0.5 + unit.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_delay_stays_between_half_and_whole(attempt in 1_u32..1_000, unit in 0.0..1.0_f64) {
            let backoff = Backoff::default();
            let whole = backoff.delay(attempt, 1.0);
            let delay = backoff.delay(attempt, unit);
            prop_assert!(whole <= backoff.max && delay <= whole && delay >= whole / 2);
        }
    }

    #[test]
    fn attempts_double_it() {
        let backoff = Backoff::default();
        let seconds: Vec<_> = (1..=4).map(|n| backoff.delay(n, 1.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8]);
    }
}
