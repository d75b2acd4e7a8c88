use std::time::Duration;

use bytes::Bytes;
use tidings_core::{Timestamp, webhook::AttemptFailure};

use super::{Answer, Failed};

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// `None`: no answer came.
    pub status: Option<u16>,
    /// `None`: it was delivered.
    pub failure: Option<AttemptFailure>,
    /// Until the answer's end, or until it failed. Zero where the guard or the name server said no: how long that took would
    /// tell of the inside.
    pub latency: Duration,
    /// Of the body.
    pub request_bytes: u32,
    /// Of the body, as far as it was read.
    pub answer_bytes: u32,
    /// How the answer's body began; at most 4 KiB.
    pub answer: Bytes,
    /// What the receiver asked for. Whether to heed it is the caller's to decide.
    pub retry_after: Option<RetryAfter>,
}

/// The header `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    Delay(Duration),
    At(Timestamp),
}

impl Attempt {
    pub(super) fn new(outcome: Result<Answer, Failed>, latency: Duration, request_bytes: usize) -> Self {
        let request_bytes = u32::try_from(request_bytes).unwrap_or(u32::MAX);
        match outcome {
            Ok(answer) => Self {
                status: Some(answer.status),
                failure: judge(answer.status),
                latency,
                request_bytes,
                answer_bytes: answer.bytes,
                answer: answer.start.into(),
                retry_after: answer.retry_after,
            },
            Err(Failed { failure, .. }) => Self {
                status: None,
                failure: Some(failure),
                latency: if is_inner(failure) { Duration::ZERO } else { latency },
                request_bytes,
                answer_bytes: 0,
                answer: Bytes::new(),
                retry_after: None,
            },
        }
    }
}

impl RetryAfter {
    /// Seconds, or a date of HTTP.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // What is more than any number is bounded like what is merely much.
            return Some(Self::Delay(Duration::from_secs(text.parse().unwrap_or(u64::MAX))));
        }
        // By the calendar, which reaches further than the library's instants do: to the end of the year 9999.
        let fields = jiff::fmt::strtime::BrokenDownTime::parse("%a, %d %b %Y %H:%M:%S GMT", text).ok()?;
        let since_epoch =
            fields.to_datetime().ok()?.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0));
        Some(Self::At(Timestamp::from_secs(since_epoch.as_secs())))
    }
}

/// Success is 2xx and nothing else.
const fn judge(status: u16) -> Option<AttemptFailure> {
    match status {
        200..=299 => None,
        300..=399 => Some(AttemptFailure::Redirect),
        410 => Some(AttemptFailure::Gone),
        429 | 503 => Some(AttemptFailure::Throttled),
        _ => Some(AttemptFailure::Status),
    }
}

const fn is_inner(failure: AttemptFailure) -> bool {
    matches!(failure, AttemptFailure::Refused | AttemptFailure::Resolve)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_status_decides() {
        for (status, failure) in [
            (200, None),
            (204, None),
            (299, None),
            (101, Some(AttemptFailure::Status)),
            (301, Some(AttemptFailure::Redirect)),
            (304, Some(AttemptFailure::Redirect)),
            (400, Some(AttemptFailure::Status)),
            (410, Some(AttemptFailure::Gone)),
            (429, Some(AttemptFailure::Throttled)),
            (500, Some(AttemptFailure::Status)),
            (503, Some(AttemptFailure::Throttled)),
        ] {
            assert_eq!(judge(status), failure, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(RetryAfter::parse("120"), Some(RetryAfter::Delay(Duration::from_mins(2))));
        let at = Timestamp::from_secs(784_111_777);
        assert_eq!(RetryAfter::parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(RetryAfter::At(at)));
        // However large: what is done with it is bounded elsewhere.
        for text in ["99999999999", "18446744073709551616", "999999999999999999999999999999"] {
            let Some(RetryAfter::Delay(delay)) = RetryAfter::parse(text) else { panic!("{text}") };
            assert!(delay >= Duration::from_hours(24), "{text}");
        }
        let last = RetryAfter::parse("Fri, 31 Dec 9999 23:59:59 GMT");
        assert!(
            matches!(last, Some(RetryAfter::At(at)) if at > Timestamp::from_secs(200_000_000_000)),
            "{last:?}"
        );
        for text in ["", "-1", "+1", "soon", "1.5", "Fri, 32 Dec 9999 23:59:59 GMT"] {
            assert_eq!(RetryAfter::parse(text), None, "{text:?}");
        }
    }
}
