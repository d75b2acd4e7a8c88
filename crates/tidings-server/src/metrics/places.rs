use prometheus_client::{metrics::counter::Counter, registry::Registry};

#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) alone: Counter,
}

impl Places {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let places = Self { alone: Counter::default() };
        registry.register(
            "connection_places_alone",
            "Places of users and tenants that this node gave by its own count, the others being out of reach",
            places.alone.clone(),
        );
        places
    }
}
