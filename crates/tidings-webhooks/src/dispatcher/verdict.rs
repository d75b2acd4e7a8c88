//! What an attempt means for its event and its endpoint.

use std::time::Duration;

use tidings_core::{
    EndpointSpec, Timestamp,
    webhook::{AttemptFailure, RetrySchedule},
};

use super::DispatcherConfig;
use crate::sender::{Attempt, RetryAfter};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) next: Next,
    /// Nothing is sent to the endpoint before that.
    pub(super) quiet_until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Delivered,
    Again(Timestamp),
    Dead(AttemptFailure),
}

/// Judges the `number`th attempt, which was over at `now`. `unit` is uniform in `0.0..1.0`.
pub(super) fn judge(
    attempt: &Attempt,
    number: u32,
    (spec, config): (&EndpointSpec, &DispatcherConfig),
    now: Timestamp,
    unit: f64,
) -> Verdict {
    let Some(failure) = attempt.failure else {
        return Verdict { next: Next::Delivered, quiet_until: None };
    };
    let asked = (failure == AttemptFailure::Throttled).then_some(attempt.retry_after).flatten();
    let quiet_until = asked.map(|asked| now + wanted(asked, now).min(config.retry_after_max));
    let next = match spec.retries.delay_after(number, config.retries) {
        Some(delay) => {
            let at = now + RetrySchedule::jittered(delay, spec.jitter, unit);
            Next::Again(quiet_until.map_or(at, |until| until.max(at)))
        }
        None => Next::Dead(failure),
    };
    Verdict { next, quiet_until }
}

fn wanted(asked: RetryAfter, now: Timestamp) -> Duration {
    match asked {
        RetryAfter::Delay(delay) => delay,
        RetryAfter::At(at) => at.since(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    fn attempt(failure: Option<AttemptFailure>, retry_after: Option<RetryAfter>) -> Attempt {
        Attempt {
            status: None,
            failure,
            latency: Duration::ZERO,
            request_bytes: 0,
            answer_bytes: 0,
            answer: Bytes::new(),
            retry_after,
        }
    }

    fn judged(attempt: &Attempt, number: u32) -> Verdict {
        let (spec, config) = (EndpointSpec::of("https://example.com"), DispatcherConfig::default());
        judge(attempt, number, (&spec, &config), NOW, 0.0)
    }

    #[test]
    fn failures_are_tried_again_until_the_schedule_ends() {
        let failed = attempt(Some(AttemptFailure::Timeout), None);
        let next: Vec<_> = (1..=4).map(|number| judged(&failed, number).next).collect();
        let at = |secs: i64| Next::Again(Timestamp::from_secs(1_000 + secs));
        assert_eq!(next, [at(5), at(30), at(180), Next::Dead(AttemptFailure::Timeout)]);
        assert_eq!(judged(&attempt(None, None), 1).next, Next::Delivered);
    }

    #[test]
    fn retry_after_is_heeded_within_bounds_and_only_with_429_and_503() {
        let throttled = |asked| judged(&attempt(Some(AttemptFailure::Throttled), Some(asked)), 1);
        let at = |secs: i64| Timestamp::from_secs(1_000 + secs);
        let minute = throttled(RetryAfter::Delay(Duration::from_mins(1)));
        assert_eq!(minute, Verdict { next: Next::Again(at(60)), quiet_until: Some(at(60)) });
        let soon = throttled(RetryAfter::At(at(2)));
        assert_eq!(soon, Verdict { next: Next::Again(at(5)), quiet_until: Some(at(2)) });
        let past = throttled(RetryAfter::At(Timestamp::from_secs(1)));
        assert_eq!(past.quiet_until, Some(NOW));
        let day = throttled(RetryAfter::Delay(Duration::from_hours(24)));
        assert_eq!(day.quiet_until, Some(at(3_600)));
        let other = judged(
            &attempt(Some(AttemptFailure::Status), Some(RetryAfter::Delay(Duration::from_mins(1)))),
            1,
        );
        assert_eq!(other, Verdict { next: Next::Again(at(5)), quiet_until: None });
    }
}
