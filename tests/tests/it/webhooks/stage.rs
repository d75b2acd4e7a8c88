//! A server on either store, with tenants, and receivers that many endpoints lead to.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::{
    Api, Receiver, Server, ServerOptions,
    cluster::{Cluster, ClusterOptions},
    server::ALL_SCOPES,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Embedded,
    Postgres,
}

/// The node, and what it stands on.
pub(super) enum Stage {
    Embedded(Box<Server>),
    Postgres(Box<Cluster>),
}

impl Stage {
    /// With these settings, and no limits on who is one user at one address.
    pub(super) fn open(on: On, settings: &[(&str, &str)]) -> Self {
        Self::with(on, (ServerOptions::new(), Cluster::options()), settings)
    }

    /// With these settings, and all limits as shipped.
    pub(super) fn as_shipped(on: On, settings: &[(&str, &str)]) -> Self {
        Self::with(on, (ServerOptions::new().as_shipped(), Cluster::options().as_shipped()), settings)
    }

    fn with(on: On, (server, cluster): (ServerOptions, ClusterOptions), settings: &[(&str, &str)]) -> Self {
        match on {
            On::Embedded => {
                let options = settings.iter().fold(server, |o, (key, value)| o.set(key, value));
                Self::Embedded(Box::new(options.start()))
            }
            On::Postgres => {
                let options = cluster.nodes(1).without_redis();
                let options = settings.iter().fold(options, |o, (key, value)| o.set(key, value));
                Self::Postgres(Box::new(options.start()))
            }
        }
    }

    pub(super) fn node(&self) -> &Server {
        match self {
            Self::Embedded(server) => server,
            Self::Postgres(cluster) => &cluster.nodes[0],
        }
    }

    /// Makes so many; who publishes in each.
    pub(super) fn tenants(&self, count: usize) -> Vec<Api> {
        let scopes = format!("{ALL_SCOPES} webhooks:manage");
        let tenant = |n| {
            let name = format!("tenant-{n}");
            let made = self.node().admin().post("/api/v1/tenants", &json!({ "id": name })).expect("answers");
            let _ = made.expect(201);
            self.node().user(&name, "backend", &scopes)
        };
        (0..count).map(tenant).collect()
    }
}

/// Makes an endpoint with these fields beside its URL.
pub(super) fn endpoint(api: &Api, receiver: &Receiver, fields: Value) {
    let Value::Object(mut fields) = fields else { panic!("fields are an object") };
    fields.insert("url".into(), json!(receiver.url()));
    let _ = api.post("/api/v1/webhooks", &Value::Object(fields)).expect("answers").expect(201);
}

/// The value below which this part of them lies.
pub(super) fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let at = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}
