//! New ids, from the injected clock and randomness.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tidings_core::{Clock, EndpointId, Entropy, EventId, JobId, ReplayId, ScheduleId, Timestamp};

/// Makes ids that rise, also within one millisecond: jobs of one array are listed and leased in its
/// order.
#[derive(Clone)]
pub(crate) struct Ids {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The last id's time and place: milliseconds above, a count of 12 bits below.
    last: Arc<AtomicU64>,
}

impl Ids {
    pub(crate) fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy, last: Arc::default() }
    }

    pub(crate) fn job(&self) -> JobId {
        let (time, place) = self.next();
        JobId::generate(time, &place)
    }

    pub(crate) fn event(&self) -> EventId {
        let (time, place) = self.next();
        EventId::generate(time, &place)
    }

    pub(crate) fn schedule(&self) -> ScheduleId {
        let (time, place) = self.next();
        ScheduleId::generate(time, &place)
    }

    pub(crate) fn endpoint(&self) -> EndpointId {
        let (time, place) = self.next();
        EndpointId::generate(time, &place)
    }

    pub(crate) fn replay(&self) -> ReplayId {
        let (time, place) = self.next();
        ReplayId::generate(time, &place)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The next place in time. More than 4,096 in a millisecond run ahead of the clock.
    fn next(&self) -> (Timestamp, Place) {
        let now = (self.clock.now().as_micros().max(0) as u64 / 1_000) << 12;
        let after = |last: u64| now.max(last + 1);
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last)));
        let at = after(last.unwrap_or_else(|unchanged| unchanged));
        let time = Timestamp::from_micros((at >> 12) as i64 * 1_000);
        (time, Place { count: (at & 0xFFF) as u16, entropy: self.entropy.clone() })
    }
}

/// Randomness with the count in front: what stands behind the milliseconds in a UUID of version 7.
struct Place {
    count: u16,
    entropy: Arc<dyn Entropy>,
}

impl Entropy for Place {
    fn fill(&self, bytes: &mut [u8]) {
        self.entropy.fill(bytes);
        if let Some(front) = bytes.first_chunk_mut() {
            *front = self.count.to_be_bytes();
        }
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::SystemEntropy;

    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(1_700_000_000)
        }
    }

    #[test]
    fn ids_rise_also_within_a_millisecond() {
        let ids = Ids::new(Arc::new(Still), Arc::new(SystemEntropy));
        let made: Vec<_> = (0..10_000).map(|_| ids.job()).collect();
        assert!(made.is_sorted_by(|a, b| a < b));
        assert_ne!(made[0].as_bytes()[8..], made[1].as_bytes()[8..], "the rest is random");
    }
}
