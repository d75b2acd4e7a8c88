//! How a server that stops sends its clients away without having them all come back at once.

use std::time::Duration;

use tidings_core::Entropy;

/// Who takes the clients of a server that stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return {
    /// Other servers do, at once.
    Elsewhere,
    /// Its next process does: until the drain is over and that process has started, who comes back comes in vain.
    AfterRestart,
}

/// How a server's connections go, and when they come back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Within which time they are closed.
    spread: Duration,
    /// Within which time they are told to come back.
    comeback: Duration,
    to: Return,
}

impl Plan {
    pub(crate) fn new(window: Duration, connections: usize, to: Return) -> Self {
        Self { spread: spread(window, connections), comeback: comeback(connections), to }
    }

    /// When one of them is closed, and the hint that it gets. Who goes later also comes back later: two shares that know nothing of
    /// each other would have most of all come back in the middle.
    pub(crate) fn departure(&self, entropy: &dyn Entropy) -> (Duration, Duration) {
        /// For the last to go and a process to start.
        const RESTART: Duration = Duration::from_secs(1);
        let share = entropy.unit();
        let gone = self.spread.mul_f64(share);
        let in_vain = match self.to {
            Return::Elsewhere => Duration::ZERO,
            Return::AfterRestart => self.spread.saturating_sub(gone) + RESTART,
        };
        (gone, in_vain + comeback_at(self.comeback, share))
    }
}

/// Two thirds of the window at most: the last third is for those who are slow to go.
fn spread(window: Duration, connections: usize) -> Duration {
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
        // When the first and the last are back: at others while it still drains, at its next process after that.
        for (to, first, last) in [(Return::Elsewhere, 0.5, 30.5), (Return::AfterRestart, 21.5, 31.5)] {
            let plan = Plan::new(Duration::from_secs(30), 1_000, to);
            let mut tenths = [0; 10];
            for _ in 0..10_000 {
                let (gone, hint) = plan.departure(&SystemEntropy);
                let back = (gone + hint).as_secs_f64();
                assert!(
                    gone <= Duration::from_secs(20) && (first..=last).contains(&back),
                    "{gone:?} {hint:?}"
                );
                tenths[((back - first) / (last - first) * 10.0) as usize % 10] += 1;
            }
            assert!(tenths.iter().all(|count| (800..1_200).contains(count)), "{to:?} {tenths:?}");
        }
    }
}
