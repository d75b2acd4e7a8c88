use serde::{Deserialize, Serialize};

use super::{ConfigError, Span};

/// How a PostgreSQL database is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Postgres {
    /// Connections that a node opens at most.
    pub connections: usize,
    /// Commits that a node has on their way at once; each tenant's are always in the same lane. They are part
    /// of `connections`.
    pub lanes: usize,
    /// How long a connection may take to open.
    pub connect_timeout: Span,
    /// How long a read may take.
    pub statement_timeout: Span,
    /// How long a node that starts waits for the database.
    pub start_timeout: Span,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            connections: 16,
            lanes: 4,
            connect_timeout: Span::secs(3),
            statement_timeout: Span::secs(10),
            start_timeout: Span::secs(30),
        }
    }
}

impl Postgres {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=64).contains(&self.lanes) {
            return Err(ConfigError::invalid("postgres.lanes", "must be from 1 to 64"));
        }
        if !(self.lanes + 4..=1_000).contains(&self.connections) {
            let message = "must be from postgres.lanes + 4 to 1000";
            return Err(ConfigError::invalid("postgres.connections", message));
        }
        for (key, span) in [
            ("postgres.connect_timeout", self.connect_timeout),
            ("postgres.statement_timeout", self.statement_timeout),
        ] {
            if span.0.is_zero() {
                return Err(ConfigError::invalid(key, "must be longer than zero"));
            }
        }
        Ok(())
    }
}
