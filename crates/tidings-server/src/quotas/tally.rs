use std::{fmt::Write as _, sync::Arc, time::Duration};

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tidings_core::Quota;

use super::{Metered, Policy};

/// What the answer to one request tells of quotas.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<SmallVec<[Line; 4]>>>);

#[derive(Debug)]
struct Line {
    policy: Policy,
    quota: Quota,
    remaining: u32,
    /// Until all of it is back; where it was not enough, until it is.
    reset: Duration,
}

impl Tally {
    /// What is said of a policy later is what counts.
    pub(super) fn note(&self, policy: Policy, quota: Quota, remaining: u32, reset: Duration) {
        let mut lines = self.0.lock();
        lines.retain(|line| line.policy != policy);
        lines.push(Line { policy, quota, remaining, reset });
    }
}

pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Layer: says in `RateLimit` and `RateLimit-Policy` what was counted and what is left
/// (draft-ietf-httpapi-ratelimit-headers-10). A request for which nothing is counted gets neither.
pub(crate) async fn tell(mut request: Request, next: Next) -> Response {
    let tally = Tally::default();
    request.extensions_mut().insert(tally.clone());
    let mut response = next.run(request).await;
    let lines = tally.0.lock();
    if !lines.is_empty() {
        let (limit, policy) = fields(&lines);
        response.headers_mut().insert(RATE_LIMIT, limit);
        response.headers_mut().insert(RATE_LIMIT_POLICY, policy);
    }
    drop(lines);
    response
}

fn fields(lines: &[Line]) -> (HeaderValue, HeaderValue) {
    let (mut limit, mut policies) = (String::with_capacity(128), String::with_capacity(128));
    for Line { policy, quota, remaining, reset } in lines {
        let comma = if limit.is_empty() { "" } else { ", " };
        let name = policy.key().trim_start_matches("limits.");
        let _ = write!(limit, "{comma}\"{name}\";r={remaining};t={}", seconds(*reset));
        let _ = write!(policies, "{comma}\"{name}\";q={};w={}", quota.burst, seconds(quota.window()));
        match policy.metered {
            Metered::Requests => {}
            Metered::Bytes => policies.push_str(";qu=\"content-bytes\""),
            Metered::Publishes => policies.push_str(";qu=\"events\""),
            Metered::Enqueues => policies.push_str(";qu=\"jobs\""),
        }
    }
    let value = |text: String| HeaderValue::try_from(text).expect("names and numbers are visible ASCII");
    (value(limit), value(policies))
}

/// Rounded up, as in `Retry-After`.
const fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + (duration.subsec_nanos() > 0) as u64
}
