//! Waiting for something to become true, up to a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// What nothing here should ever take: reaching it is a failure, not a measurement.
pub const LONG: Duration = Duration::from_secs(30);

const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// Looks until `look` finds something.
///
/// # Panics
/// When `within` has passed, naming `what`.
#[track_caller]
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {within:?} in vain for: {what}");
        pause(BETWEEN_LOOKS);
    }
}

/// [`until`] for a plain condition.
#[track_caller]
pub fn until_true(what: &str, within: Duration, mut look: impl FnMut() -> bool) {
    until(what, within, || look().then_some(()));
}

/// Looks until `look` says yes; `false` when `within` has passed.
pub fn is_true_within(within: Duration, mut look: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !look() {
        if Instant::now() >= deadline {
            return false;
        }
        pause(BETWEEN_LOOKS);
    }
    true
}

/// Lets `length` pass: between two looks, and where time itself is what a test is about (a random
/// moment to kill at, a reader that is slow on purpose).
pub fn pause(length: Duration) {
    thread::park_timeout(length);
}
