//! Everything that `/metrics` shows. Names are fixed; no label names a tenant, a user or an address.

mod auth;
mod bus;
mod distribution;
mod duties;
mod http;
mod limits;
mod listener;
mod log;
mod places;
mod streams;
mod webhooks;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::gauge::Gauge,
    registry::Registry,
};
use tidings_delivery::{ConnectionKind, Ending, Observer, Written};

use crate::config::Config;

pub(crate) use streams::Streams;

/// A handle on all metrics of one server.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

pub struct Inner {
    registry: Mutex<Registry>,
    pub(crate) auth: auth::Auth,
    pub(crate) bus: bus::Bus,
    pub(crate) duties: duties::Duties,
    pub(crate) http: http::Http,
    pub(crate) limits: limits::Limits,
    pub(crate) listener: listener::Listener,
    pub(crate) log: log::Log,
    pub(crate) places: places::Places,
    pub(crate) websocket: Streams,
    pub(crate) sse: Streams,
    pub(crate) webhooks: webhooks::Webhooks,
    pub(crate) live: Live,
}

/// How the feeds stand; set when they are asked for.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) utilization: Gauge<f64, AtomicU64>,
    pub(crate) connections_max: Gauge,
    pub(crate) feeds: Gauge,
    pub(crate) stale_feeds: Gauge,
    pub(crate) ring_bytes: Gauge,
    pub(crate) page_bytes: Gauge,
}

/// The one label that a counter of reasons has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reason {
    pub(crate) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Status {
    pub(crate) status: &'static str,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::default();
        Self(Arc::new(Inner {
            auth: auth::Auth::register(&mut registry),
            bus: bus::Bus::register(&mut registry),
            duties: duties::Duties::register(&mut registry),
            http: http::Http::register(&mut registry),
            limits: limits::Limits::register(&mut registry),
            listener: listener::Listener::register(&mut registry),
            log: log::Log::register(&mut registry),
            places: places::Places::register(&mut registry),
            websocket: Streams::register(&mut registry, "websocket"),
            sse: Streams::register(&mut registry, "sse"),
            webhooks: webhooks::Webhooks::register(&mut registry),
            live: Live::register(&mut registry),
            registry: Mutex::new(registry),
        }))
    }

    /// Of a server that is configured so.
    pub(crate) fn of(config: &Config) -> Self {
        let metrics = Self::new();
        metrics.limits.set(config.bounds());
        metrics
    }

    pub(crate) fn streams(&self, kind: ConnectionKind) -> &Streams {
        match kind {
            ConnectionKind::WebSocket => &self.websocket,
            ConnectionKind::Sse => &self.sse,
        }
    }

    /// All of them as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(16 << 10);
        text::encode(&mut out, &self.0.registry.lock()).expect("a String takes every write");
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl std::ops::Deref for Metrics {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Shards tell of deliveries once per wake-up.
impl Observer for Metrics {
    fn opened(&self, kind: ConnectionKind) {
        self.streams(kind).opened();
    }

    fn closed(&self, kind: ConnectionKind, ending: Ending, lasted: Duration) {
        self.streams(kind).closed(ending.label(), lasted);
    }

    fn written(&self, kind: ConnectionKind, written: &Written) {
        self.streams(kind).written(written);
    }

    fn received(&self, kind: ConnectionKind, messages: u64) {
        self.streams(kind).received(messages);
    }

    fn lagged(&self, kind: ConnectionKind) {
        self.streams(kind).lagged();
    }
}

impl Live {
    fn register(registry: &mut Registry) -> Self {
        let live = Self {
            utilization: Gauge::default(),
            connections_max: Gauge::default(),
            feeds: Gauge::default(),
            stale_feeds: Gauge::default(),
            ring_bytes: Gauge::default(),
            page_bytes: Gauge::default(),
        };
        registry.register(
            "broadcast_channel_utilization",
            "The largest lag of a live subscriber since the last scrape, divided by the limit",
            live.utilization.clone(),
        );
        registry.register("live_feeds", "Feeds that are open", live.feeds.clone());
        registry.register(
            "live_stale_feeds",
            "Feeds whose head the store has not confirmed for too long",
            live.stale_feeds.clone(),
        );
        registry.register(
            "live_connections_max",
            "How many live connections there may be (limits.connections)",
            live.connections_max.clone(),
        );
        registry.register("live_ring_bytes", "Bytes that the feeds' rings hold", live.ring_bytes.clone());
        registry.register("live_page_bytes", "Bytes that catch-up pages hold", live.page_bytes.clone());
        live
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_dashboards_rely_on_are_there() {
        let metrics = Metrics::new();
        metrics.websocket.rejected("limit");
        metrics.websocket.opened();
        metrics.websocket.closed("shutdown", std::time::Duration::from_secs(2));
        let text = metrics.encode();
        for name in [
            "websocket_connections_active 0",
            "websocket_connections_total{status=\"success\"} 1",
            "websocket_connections_total{status=\"limit\"} 1",
            "websocket_connections_rejected_total{reason=\"limit\"} 1",
            "websocket_connections_closed_total{reason=\"shutdown\"} 1",
            "websocket_connection_duration_seconds_count 1",
            "websocket_messages_sent_total 0",
            "websocket_messages_received_total 0",
            "websocket_message_size_bytes_count 0",
            "websocket_event_delivery_latency_seconds_count 0",
            "websocket_lag_total 0",
            "broadcast_channel_utilization 0",
            "sse_connections_active 0",
            "log_commit_duration_seconds_count 0",
            "log_commit_batch_commands_count 0",
        ] {
            assert!(text.contains(name), "{name} is not in\n{text}");
        }
    }
}
