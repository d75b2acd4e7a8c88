//! What a server is told: one TOML file, `TIDINGS_SECTION__KEY` over it, flags over both.
//!
//! Each concern has a struct with its defaults, units and checks; [`Loaded`] is the whole with where each
//! value came from. Unknown keys are errors, so that a misspelt limit is not a limit that is not there.

mod auth;
mod bounds;
mod degraded;
mod descriptors;
mod error;
mod files;
mod layers;
mod limits;
mod loaded;
mod network;
mod postgres;
mod secret;
mod secrets;
mod sections;
mod server;
mod streams;
mod value;
mod webhooks;

use serde::{Deserialize, Serialize};

pub use auth::{Auth, Issuer, IssuerKey};
pub(crate) use bounds::Bound;
pub use error::ConfigError;
pub use limits::Limits;
pub use loaded::{Loaded, Origin, Row, Sources};
pub use network::Network;
pub use postgres::Postgres;
pub use secret::Secret;
pub use secrets::Secrets;
pub use sections::{Cors, Create, Drain, Jobs, Live, Log, LogFormat, Retention, SlowClientsSetting, Tenants};
pub(crate) use server::NOT_LOOPBACK;
pub use server::{ForwardedHeader, Mode, Role, Server, StoreChoice};
pub use value::{Off, RateText, Span};
pub use webhooks::Webhooks;

/// Every effective value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub postgres: Postgres,
    pub secrets: Secrets,
    pub auth: Auth,
    pub cors: Cors,
    pub live: Live,
    pub tenants: Tenants,
    pub jobs: Jobs,
    pub webhooks: Webhooks,
    pub limits: Limits,
    pub drain: Drain,
    pub retention: Retention,
    pub log: Log,
}

impl Config {
    /// Looks at what the types cannot: ranges, and values that must fit together.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.server.validate()?;
        self.postgres.validate()?;
        self.secrets.validate()?;
        self.auth.validate()?;
        self.cors.validate()?;
        self.live.validate()?;
        self.jobs.validate()?;
        self.webhooks.validate()?;
        self.limits.validate()?;
        self.drain.validate()?;
        self.retention.validate()?;
        self.log.validate()
    }
}
