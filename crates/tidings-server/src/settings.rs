//! The effective configuration as handlers see it: what SIGHUP reloads changes under them.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::config::Config;

/// A handle on the configuration of now.
#[derive(Debug, Clone)]
pub struct Settings(Arc<ArcSwap<Config>>);

impl Settings {
    pub fn new(config: Config) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }

    pub fn get(&self) -> Guard<Arc<Config>> {
        self.0.load()
    }

    /// Takes over what may change while the server runs: limits, how live connections are kept and how long events are,
    /// how many jobs of a type run, allow-lists, the drain, the log filter and issuers' keys. The rest stays as it was at the start.
    pub(crate) fn reload(&self, new: &Config) {
        let mut next = Config::clone(&self.get());
        next.limits = new.limits.clone();
        next.live = new.live.clone();
        next.drain = new.drain.clone();
        next.retention = new.retention.clone();
        next.jobs.concurrency.clone_from(&new.jobs.concurrency);
        next.cors = new.cors.clone();
        next.auth = new.auth.clone();
        next.webhooks = new.webhooks.clone();
        next.server.trusted_proxies.clone_from(&new.server.trusted_proxies);
        next.server.forwarded_header = new.server.forwarded_header;
        next.log.filter.clone_from(&new.log.filter);
        self.0.store(Arc::new(next));
    }
}
