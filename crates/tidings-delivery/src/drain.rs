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
    comeback_at(time, entropy.unit())
}

fn comeback_at(time: Duration, share: f64) -> Duration {
    const SOONEST: Duration = Duration::from_millis(500);
    SOONEST + time.mul_f64(share)
}

/// When one of the connections that are to go is closed, and the hint that it gets. Who goes later is also told to stay away for
/// longer: two shares that know nothing of each other would have most of all come back in the middle.
pub(crate) fn departure(spread: Duration, comeback: Duration, entropy: &dyn Entropy) -> (Duration, Duration) {
    let share = entropy.unit();
    (spread.mul_f64(share), comeback_at(comeback, share))
}

#[cfg(test)]
mod tests {
    use tidings_core::SystemEntropy;

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

    #[test]
    fn they_come_back_in_a_flat_line() {
        let (spread, comeback) = (Duration::from_secs(20), Duration::from_secs(10));
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            let (gone, hint) = departure(spread, comeback, &SystemEntropy);
            assert!(gone <= spread && hint <= comeback + Duration::from_millis(500));
            let back = (gone + hint).saturating_sub(Duration::from_millis(500));
            tenths[(back.as_secs_f64() / 30.0 * 10.0) as usize % 10] += 1;
        }
        assert!(tenths.iter().all(|count| (800..1_200).contains(count)), "{tenths:?}");
    }
}
