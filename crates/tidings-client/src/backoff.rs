use std::time::Duration;

use tidings_core::Entropy;

/// How long to wait before trying again: a random part (full jitter) of 1, 2, 4, 8 … 30 s, so that
/// clients that were cut together do not return together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub base: Duration,
    pub max: Duration,
    /// Failures in a row after which it gives up; `None`: never.
    pub tries: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), max: Duration::from_secs(30), tries: Some(10) }
    }
}

impl Backoff {
    /// Never gives up: for services that outlive any outage.
    #[must_use]
    pub const fn forever(self) -> Self {
        Self { tries: None, ..self }
    }

    /// The wait after the `failures`th failure in a row (from 1), or `None` where that was the last try.
    ///
    /// `at_least` is what the server asked for: it is waited in full, and jitter of up to `base` comes on top.
    pub fn delay(
        &self,
        failures: u32,
        at_least: Option<Duration>,
        entropy: &dyn Entropy,
    ) -> Option<Duration> {
        if self.tries.is_some_and(|tries| failures >= tries) {
            return None;
        }
        let doublings = failures.saturating_sub(1).min(30);
        let whole = self.base.saturating_mul(1 << doublings).min(self.max);
        let unit = entropy.unit();
        let jittered = whole.mul_f64(unit);
        Some(at_least.map_or(jittered, |asked| jittered.max(asked + self.base.mul_f64(unit))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            for (byte, value) in bytes.iter_mut().zip(self.0.to_le_bytes().iter().cycle()) {
                *byte = *value;
            }
        }
    }

    #[test]
    fn waits_double_up_to_thirty_seconds_and_end() {
        let backoff = Backoff::default();
        let waits: Vec<_> = (1..10)
            .map(|n| {
                backoff.delay(n, None, &Fixed(u64::MAX)).expect("within the tries").as_secs_f64().round()
                    as u64
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
        assert_eq!(backoff.delay(10, None, &Fixed(0)), None);
        assert!(backoff.forever().delay(10_000, None, &Fixed(0)).is_some());
    }

    #[test]
    fn jitter_is_full_but_what_the_server_asks_is_waited() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(5, None, &Fixed(0)), Some(Duration::ZERO));
        let asked = Some(Duration::from_secs(7));
        assert_eq!(backoff.delay(1, asked, &Fixed(0)), asked);
        assert!(backoff.delay(1, asked, &Fixed(u64::MAX)) <= Some(Duration::from_secs(8)));
    }
}
