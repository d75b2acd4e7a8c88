use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use tidings_delivery::{LATENCY_BOUNDS, SIZE_BOUNDS, Written};

use super::{
    Reason, Status,
    distribution::{Distribution, LIFETIME_SECONDS},
};

/// One transport's live connections.
#[derive(Debug)]
pub(crate) struct Streams {
    active: Gauge,
    total: Family<Status, Counter>,
    rejected: Family<Reason, Counter>,
    closed: Family<Reason, Counter>,
    duration: Distribution,
    sent: Counter,
    received: Counter,
    size: Distribution,
    latency: Distribution,
    lag: Counter,
}

impl Streams {
    pub(super) fn register(registry: &mut Registry, transport: &str) -> Self {
        let streams = Self {
            active: Gauge::default(),
            total: Family::default(),
            rejected: Family::default(),
            closed: Family::default(),
            duration: Distribution::new(LIFETIME_SECONDS),
            sent: Counter::default(),
            received: Counter::default(),
            size: Distribution::new(&SIZE_BOUNDS),
            latency: Distribution::new(&LATENCY_BOUNDS),
            lag: Counter::default(),
        };
        let name = |rest: &str| format!("{transport}_{rest}");
        registry.register(name("connections_active"), "Connections that are open", streams.active.clone());
        registry.register(name("connections"), "Attempts to connect, by result", streams.total.clone());
        registry.register(
            name("connections_rejected"),
            "Attempts refused, by reason",
            streams.rejected.clone(),
        );
        registry.register(name("connections_closed"), "Connections ended, by reason", streams.closed.clone());
        registry.register(
            name("connection_duration_seconds"),
            "How long connections lived",
            streams.duration.clone(),
        );
        registry.register(name("messages_sent"), "Messages written", streams.sent.clone());
        registry.register(name("messages_received"), "Messages read", streams.received.clone());
        registry.register(name("message_size_bytes"), "Sizes of written messages", streams.size.clone());
        registry.register(
            name("event_delivery_latency_seconds"),
            "From an event's commit to its write to a socket",
            streams.latency.clone(),
        );
        registry.register(name("lag"), "Subscribers that fell behind the limit", streams.lag.clone());
        streams
    }

    pub(crate) fn opened(&self) {
        self.active.inc();
        self.total.get_or_create(&Status { status: "success" }).inc();
    }

    /// `reason` is `auth_fail`, `limit`, `draining`, `bad_request`, …
    pub(crate) fn rejected(&self, reason: &'static str) {
        self.total.get_or_create(&Status { status: reason }).inc();
        self.rejected.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn closed(&self, reason: &'static str, lived: Duration) {
        self.active.dec();
        self.closed.get_or_create(&Reason { reason }).inc();
        self.duration.observe(lived.as_secs_f64());
    }

    pub(crate) fn written(&self, written: &Written) {
        self.sent.inc_by(written.messages);
        self.size.observe_all(&written.sizes, written.bytes as f64);
        self.latency.observe_all(&written.latency, written.latency_seconds);
    }

    pub(crate) fn received(&self, messages: u64) {
        self.received.inc_by(messages);
    }

    pub(crate) fn lagged(&self) {
        self.lag.inc();
    }
}
