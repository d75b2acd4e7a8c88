//! The store's time, as this node knows it between two answers.

use std::{sync::Arc, time::Instant};

use parking_lot::Mutex;
use tidings_core::{Clock, Timestamp};

use super::StoreClock;

/// An estimate of the database's clock. Every answer that carries its time corrects it; since an answer
/// takes time to come, the estimate is a little late and never early.
#[derive(Clone)]
pub(super) enum StoreTime {
    Estimated(Arc<Mutex<Estimate>>),
    Injected(Arc<dyn Clock>),
}

pub(super) struct Estimate {
    origin: Instant,
    /// The database's time at the origin, in microseconds.
    offset: i64,
}

impl StoreTime {
    pub(super) fn new(clock: &StoreClock, now: Timestamp) -> Self {
        match clock {
            StoreClock::Injected(clock) => Self::Injected(Arc::clone(clock)),
            StoreClock::Database => {
                let estimate = Estimate { origin: Instant::now(), offset: now.as_micros() };
                Self::Estimated(Arc::new(Mutex::new(estimate)))
            }
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::Injected(clock) => clock.now(),
            Self::Estimated(estimate) => {
                let estimate = estimate.lock();
                Timestamp::from_micros(estimate.offset + elapsed(estimate.origin))
            }
        }
    }

    /// What statements are given instead of the database's clock.
    pub(super) fn injected(&self) -> Option<i64> {
        match self {
            Self::Injected(clock) => Some(clock.now().as_micros()),
            Self::Estimated(_) => None,
        }
    }

    /// An answer said that it was so late when it was made.
    pub(super) fn heard(&self, now: Timestamp) {
        let Self::Estimated(estimate) = self else { return };
        let mut estimate = estimate.lock();
        let offset = now.as_micros() - elapsed(estimate.origin);
        if offset > estimate.offset {
            estimate.offset = offset;
        } else {
            // A slow answer, or a clock that was set back: believed little by little.
            estimate.offset -= (estimate.offset - offset) / 64;
        }
    }
}

fn elapsed(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX)
}
