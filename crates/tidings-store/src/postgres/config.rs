//! What opening the store takes.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tidings_core::{Clock, JobType};

use super::url::{Target, UrlError};

/// How the database is reached and used.
#[derive(Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:port/database`. Beside what every client knows, `sslmode` may be
    /// `verify-ca` or `verify-full` and `sslrootcert` may name a file of certificates; without one the
    /// machine's own are trusted. It is a secret: never shown, never logged.
    pub url: String,
    /// Connections that this store opens at most, those of its lanes included; at least `lanes + 4`.
    pub connections: usize,
    /// Batches that may be on their way at once, each tenant's always in the same lane.
    pub lanes: usize,
    /// At most so many jobs of a type run at once in each tenant, on all nodes together.
    pub concurrency: HashMap<JobType, u32>,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// How long a read may take before it is given up and cancelled.
    pub statement_timeout: Duration,
    pub clock: StoreClock,
}

/// Whose time is the store's.
#[derive(Clone)]
pub enum StoreClock {
    /// The database's, which all nodes share.
    Database,
    /// For tests that move time by hand.
    Injected(Arc<dyn Clock>),
}

impl PostgresConfig {
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections: 16,
            lanes: 4,
            concurrency: HashMap::new(),
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(10),
            clock: StoreClock::Database,
        }
    }

    /// The hosts that `url` names, with their ports, as a connection would be opened to them; not the folders of
    /// sockets.
    pub fn hosts(&self) -> Result<Vec<(String, u16)>, UrlError> {
        Ok(Target::parse(&self.url, self.connect_timeout)?.hosts())
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("connections", &self.connections)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Database => "Database",
            Self::Injected(_) => "Injected",
        })
    }
}
