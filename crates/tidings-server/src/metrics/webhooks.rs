use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tidings_webhooks::dispatcher::DispatcherStats;

/// What this node delivers. Set when it is asked for.
#[derive(Debug)]
pub(crate) struct Webhooks {
    attempts: Family<Outcome, Counter>,
    dead: Counter,
    gaps: Counter,
    expired: Counter,
    in_flight: Gauge,
    oldest: Gauge<f64, AtomicU64>,
    retrying: Gauge,
    endpoints: Family<State, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

impl Webhooks {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let new = Self {
            attempts: Family::default(),
            dead: Counter::default(),
            gaps: Counter::default(),
            expired: Counter::default(),
            in_flight: Gauge::default(),
            oldest: Gauge::default(),
            retrying: Gauge::default(),
            endpoints: Family::default(),
        };
        let attempts = "Attempts to deliver webhooks, by what came of them";
        registry.register("webhook_attempts", attempts, new.attempts.clone());
        registry.register("webhook_dead_letters", "Deliveries that were given up", new.dead.clone());
        registry.register(
            "webhook_gaps",
            "Ranges of the log that webhook endpoints lost, as this node removed them",
            new.gaps.clone(),
        );
        registry.register(
            "webhook_dead_letters_expired",
            "Dead letters that were too old or too many, as this node removed them",
            new.expired.clone(),
        );
        registry.register("webhook_in_flight", "Attempts that are under way", new.in_flight.clone());
        registry.register(
            "webhook_oldest_undelivered_seconds",
            "The age of the oldest event that an endpoint of this node has not taken and that is not given up, paused and disabled ones included",
            new.oldest.clone(),
        );
        registry.register("webhook_retrying", "Deliveries that wait for another try", new.retrying.clone());
        registry.register(
            "webhook_endpoints",
            "Endpoints of this node by state; throttled ones are active ones that a rate or their receiver holds back",
            new.endpoints.clone(),
        );
        new
    }

    /// Endpoints lost events that had waited for too long.
    pub(crate) fn lost(&self, gaps: usize) {
        self.gaps.inc_by(gaps as u64);
    }

    /// Dead letters were removed by age or number.
    pub(crate) fn expired(&self, count: usize) {
        self.expired.inc_by(count as u64);
    }

    pub(crate) fn set(&self, stats: &DispatcherStats) {
        for (outcome, count) in &stats.attempts {
            raise(&self.attempts.get_or_create_owned(&Outcome { outcome }), *count);
        }
        raise(&self.dead, stats.dead);
        self.in_flight.set(stats.in_flight as i64);
        self.oldest.set(stats.oldest_age.as_secs_f64());
        self.retrying.set(stats.retrying as i64);
        let counts = [
            ("active", stats.active),
            ("throttled", stats.throttled),
            ("paused", stats.paused),
            ("disabled", stats.disabled),
        ];
        for (state, count) in counts {
            self.endpoints.get_or_create_owned(&State { state }).set(count as i64);
        }
    }
}

/// Several may ask at once: a counter that another has raised further stays there.
fn raise(counter: &Counter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}
