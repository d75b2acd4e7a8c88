use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use tidings_live::BusState;

/// How this node hears of the others' commits; set when it is asked for. Without a bus and without other
/// nodes all stays zero.
#[derive(Debug)]
pub(crate) struct Bus {
    connected: Gauge,
    joined: Gauge,
    published: Counter,
    received: Counter,
    dropped: Counter,
    malformed: Counter,
    connections: Counter,
    poll_age: Gauge<f64, AtomicU64>,
}

impl Bus {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let bus = Self {
            connected: Gauge::default(),
            joined: Gauge::default(),
            published: Counter::default(),
            received: Counter::default(),
            dropped: Counter::default(),
            malformed: Counter::default(),
            connections: Counter::default(),
            poll_age: Gauge::default(),
        };
        registry.register("bus_connected", "Whether the bus is connected", bus.connected.clone());
        registry.register("bus_tenants", "Tenants whose events are asked of the bus", bus.joined.clone());
        registry.register("bus_published", "Events published on the bus", bus.published.clone());
        registry.register("bus_received", "Other nodes' events that the bus brought", bus.received.clone());
        registry.register(
            "bus_dropped",
            "Events that the bus did not take in time; other nodes read them from the store",
            bus.dropped.clone(),
        );
        registry.register("bus_malformed", "Messages on the bus that did not read", bus.malformed.clone());
        registry.register("bus_connections", "How often the bus was connected", bus.connections.clone());
        registry.register(
            "bus_poll_age_seconds",
            "Since the shared store last told what had moved",
            bus.poll_age.clone(),
        );
        bus
    }

    /// `poll_age`: where a store is shared.
    pub(crate) fn set(&self, state: &BusState, poll_age: Option<Duration>) {
        self.connected.set(state.connected.into());
        self.joined.set(state.joined as i64);
        // The bus counts; this shows what it has counted.
        for (shown, counted) in [
            (&self.published, state.published),
            (&self.received, state.received),
            (&self.dropped, state.dropped),
            (&self.malformed, state.malformed),
            (&self.connections, state.connections),
        ] {
            shown.inner().fetch_max(counted, Relaxed);
        }
        self.poll_age.set(poll_age.unwrap_or_default().as_secs_f64());
    }
}
