use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Of the sockets that connections come to.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) accept_paused: Gauge,
    pub(crate) accept_failures: Counter,
    pub(crate) proxies_refused: Counter,
}

impl Listener {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let listener = Self {
            accept_paused: Gauge::default(),
            accept_failures: Counter::default(),
            proxies_refused: Counter::default(),
        };
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
}
