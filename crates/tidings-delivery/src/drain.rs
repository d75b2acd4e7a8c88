//! How a server that stops sends its clients away without having them all come back at once.

use std::time::Duration;

use tidings_core::Entropy;

/// Two thirds of the window at most: the last third is for those who are slow to go.
pub(crate) fn spread(window: Duration, connections: usize) -> Duration {
    const EACH: Duration = Duration::from_millis(20);
    (window * 2 / 3).min(EACH.saturating_mul(u32::try_from(connections).unwrap_or(u32::MAX)))
}

/// Within which time clients are told to come back: their number decides, half a minute is the most.
pub(crate) fn comeback(connections: usize) -> Duration {
    const EACH: Duration = Duration::from_millis(10);
    EACH.saturating_mul(u32::try_from(connections).unwrap_or(u32::MAX))
        .clamp(Duration::from_secs(1), Duration::from_secs(30))
}

/// One client's hint: never at once, and each another.
pub(crate) fn comeback_within(time: Duration, entropy: &dyn Entropy) -> Duration {
    const SOONEST: Duration = Duration::from_millis(500);
    SOONEST + time.mul_f64(entropy.unit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_clients_go_quickly_and_many_within_two_thirds() {
        let window = Duration::from_secs(30);
        assert_eq!(spread(window, 5), Duration::from_millis(100));
        assert_eq!(spread(window, 10_000), Duration::from_secs(20));
        assert_eq!(comeback(1), Duration::from_secs(1));
        assert_eq!(comeback(1_000), Duration::from_secs(10));
        assert_eq!(comeback(usize::MAX), Duration::from_secs(30));
    }
}
