use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{
    Reason,
    distribution::{Distribution, LATENCY_SECONDS},
};
use crate::problem::{Kind, Problem};

#[derive(Debug)]
pub(crate) struct Http {
    requests: Family<Answered, Counter>,
    problems: Family<Type, Counter>,
    rejected: Family<Reason, Counter>,
    limited: Family<Limit, Counter>,
    duration: Distribution,
    pub(crate) in_flight: Gauge,
    pub(crate) in_flight_max: Gauge,
    pub(crate) panics: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    /// The route's template, never the path itself.
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    /// The key of the configuration.
    limit: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Type {
    r#type: &'static str,
}

impl Http {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let http = Self {
            requests: Family::default(),
            problems: Family::default(),
            rejected: Family::default(),
            limited: Family::default(),
            duration: Distribution::new(LATENCY_SECONDS),
            in_flight: Gauge::default(),
            in_flight_max: Gauge::default(),
            panics: Counter::default(),
        };
        registry.register(
            "http_requests",
            "Requests answered, by route, method and status",
            http.requests.clone(),
        );
        registry.register("http_problems", "Requests refused, by problem type", http.problems.clone());
        registry.register(
            "http_requests_rejected",
            "Requests that a limit refused, by the problem's type",
            http.rejected.clone(),
        );
        registry.register(
            "http_requests_limited",
            "Requests that a limit refused, by the limit's key in the configuration",
            http.limited.clone(),
        );
        registry.register(
            "http_request_duration_seconds",
            "From a request's head to its answer's; long polls included",
            http.duration.clone(),
        );
        registry.register(
            "http_requests_in_flight",
            "Requests that are being answered, long polls included; health, live connections and a 429 that is held back are not",
            http.in_flight.clone(),
        );
        registry.register(
            "http_requests_in_flight_max",
            "How many of those there may be (limits.requests_in_flight)",
            http.in_flight_max.clone(),
        );
        registry.register("http_panics", "Handlers that panicked", http.panics.clone());
        http
    }

    pub(crate) fn answered(&self, route: &str, method: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Answered { route: route.to_owned(), method, status }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// A refusal by the limit of this key, or what ends without one.
    pub(crate) fn limited(&self, key: &str) {
        self.limited.get_or_create(&Limit { limit: key.to_owned() }).inc();
    }

    pub(crate) fn problem(&self, problem: &Problem) {
        let kind = problem.kind();
        let limit = problem.member("limit").and_then(|key| key.as_str());
        if let Some(limit) = limit {
            self.limited(limit);
        }
        self.problems.get_or_create(&Type { r#type: kind.slug() }).inc();
        // What is too deep is a body that is not valid, as others are that no limit refuses.
        if limit.is_some() || is_of_a_limit(kind) {
            self.rejected.get_or_create(&Reason { reason: kind.slug() }).inc();
        }
    }
}

/// Of whatever limit, also of one that has no key.
const fn is_of_a_limit(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::RateLimited
            | Kind::ConnectionsLimited
            | Kind::TooManyConnections
            | Kind::TooLarge
            | Kind::RequestTimeout
            | Kind::UriTooLong
            | Kind::HeadTooLarge
            | Kind::JobsLimited
            | Kind::LimitReached
            | Kind::Busy
    )
}
