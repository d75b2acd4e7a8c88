use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// How many connections a listener has that are no streams.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: AtomicUsize,
    freed: Notify,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

/// How soon a bound that was raised is found by whoever waits.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Places {
    /// One more, where there are fewer than `max`.
    pub(super) fn take(self: &Arc<Self>, max: usize) -> Option<Place> {
        let one_more = |taken| (taken < max).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        taken.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// One more, when there is one. One task waits at a time.
    pub(super) async fn next(self: &Arc<Self>, max: impl Fn() -> usize) -> Place {
        loop {
            if let Some(place) = self.take(max()) {
                return place;
            }
            // What was freed since then has left its word.
            let _ = tokio::time::timeout(LOOK_AGAIN, self.freed.notified()).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt as _;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_are_so_many_and_a_bound_that_moves_is_found() {
        let (places, max) = (Arc::new(Places::default()), Cell::new(2));
        let first = places.next(|| max.get()).await;
        let _second = places.next(|| max.get()).await;
        assert!(places.take(2).is_none());
        let mut third = Box::pin(places.next(|| max.get()));
        assert!((&mut third).now_or_never().is_none());
        let began = Instant::now();
        drop(first);
        let third = third.await;
        assert_eq!(began.elapsed(), Duration::ZERO, "it was told");
        let mut fourth = Box::pin(places.next(|| max.get()));
        assert!((&mut fourth).now_or_never().is_none());
        max.set(3);
        let fourth = fourth.await;
        assert!(began.elapsed() <= LOOK_AGAIN);
        // Lowered: those who are there stay, and nobody comes.
        max.set(1);
        drop(third);
        assert!(places.take(max.get()).is_none());
        drop(fourth);
        assert!(places.take(max.get()).is_none(), "one is taken");
    }
}
