use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Of the sockets that connections come to.
#[derive(Debug)]
pub(crate) struct Listener {
    connections: Family<Name, Gauge>,
    connections_max: Family<Name, Gauge>,
    /// Those that have begun.
    names: Mutex<Vec<&'static str>>,
    full: Family<Name, Counter>,
    pub(crate) accept_paused: Gauge,
    pub(crate) accept_failures: Counter,
    pub(crate) proxies_refused: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    listener: &'static str,
}

/// A connection that is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Listener {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let listener = Self {
            connections: Family::default(),
            connections_max: Family::default(),
            names: Mutex::default(),
            full: Family::default(),
            accept_paused: Gauge::default(),
            accept_failures: Counter::default(),
            proxies_refused: Counter::default(),
        };
        registry.register(
            "listener_connections",
            "Connections of a listener that are no live ones: requests, and what has not become one yet",
            listener.connections.clone(),
        );
        registry.register(
            "listener_connections_max",
            "How many of those there may be (limits.listener_connections); more wait in the kernel's backlog",
            listener.connections_max.clone(),
        );
        registry.register(
            "listener_full",
            "How often the next connection had to wait because there were as many",
            listener.full.clone(),
        );
        registry.register(
            "listener_accept_paused",
            "Listeners that cannot take connections at present, for want of a file descriptor or of memory",
            listener.accept_paused.clone(),
        );
        registry.register(
            "listener_accept_failures",
            "Attempts to take a connection that failed so",
            listener.accept_failures.clone(),
        );
        registry.register(
            "listener_proxies_refused",
            "Connections of trusted proxies that did not begin with a PROXY protocol header",
            listener.proxies_refused.clone(),
        );
        listener
    }

    /// A listener begins, which takes `max` connections and has none.
    pub(crate) fn begins(&self, listener: &'static str, max: usize) {
        self.names.lock().push(listener);
        self.connections.get_or_create_owned(&Name { listener });
        self.full.get_or_create_owned(&Name { listener });
        self.takes(max);
    }

    /// Each takes `max` connections.
    pub(crate) fn takes(&self, max: usize) {
        for listener in self.names.lock().iter().copied() {
            self.connections_max.get_or_create(&Name { listener }).set(max as i64);
        }
    }

    /// One connection more.
    pub(crate) fn connected(&self, listener: &'static str) -> Counted {
        let gauge = self.connections.get_or_create(&Name { listener }).clone();
        gauge.inc();
        Counted(gauge)
    }

    pub(crate) fn is_full(&self, listener: &'static str) {
        self.full.get_or_create(&Name { listener }).inc();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
