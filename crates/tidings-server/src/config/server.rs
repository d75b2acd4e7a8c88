use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tidings_live::RedisConfig;
use tidings_store::PostgresConfig;

use super::{ConfigError, Network, Off, Secret};

/// What `/metrics` must not be.
pub(crate) const NOT_LOOPBACK: &str =
    "must be a loopback address: /metrics asks for no credential. Put a proxy in front of it";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where clients connect. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/metrics` is.
    pub ops_listen: Off<SocketAddr>,
    /// Another process of the same user may listen there as well: the next version, while this one drains.
    pub reuse_port: bool,
    /// The folder of the log and the keys; with PostgreSQL, of what this node alone has.
    pub data: PathBuf,
    /// `sqlite`: the embedded store, in `data`; or the URL of a PostgreSQL database.
    pub store: Secret,
    /// A file that holds what `store` would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_file: Option<PathBuf>,
    /// The URL of the Redis that the servers on one database tell each other through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Secret>,
    /// A file that holds what `redis` would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_file: Option<PathBuf>,
    /// What this node does.
    pub roles: Vec<Role>,
    pub mode: Mode,
    /// The proxies that are believed when they say for whom they speak. SIGHUP reloads them.
    pub trusted_proxies: Vec<Network>,
    /// They say it in front of each connection, by PROXY protocol.
    pub proxy_protocol: bool,
    /// The header that they say it in. SIGHUP reloads it.
    pub forwarded_header: ForwardedHeader,
    /// An echo route for conformance suites.
    pub debug_echo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Production,
    /// Verbosity `debug` may be asked for.
    Development,
}

/// Where a proxy writes for whom it speaks. One of them: what it does not write itself it may pass on as a client
/// wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    XForwardedFor,
    /// RFC 7239.
    Forwarded,
}

/// A part of the work, which nodes may share out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Serves requests and live connections.
    Api,
    /// Stands ready to lead what one node at a time does for all.
    Scheduler,
    /// Delivers webhooks.
    Webhooks,
}

impl ForwardedHeader {
    pub const ALL: [Self; 2] = [Self::XForwardedFor, Self::Forwarded];
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Api, Self::Scheduler, Self::Webhooks];
}

/// Where the log is kept.
#[derive(Debug, Clone)]
pub enum StoreChoice {
    /// The embedded store, in `server.data`.
    Sqlite,
    /// The database of this URL.
    Postgres(SecretString),
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            ops_listen: Off::at(SocketAddr::from(([127, 0, 0, 1], 9464))),
            reuse_port: false,
            data: PathBuf::from("./data"),
            store: Secret::new("sqlite"),
            store_file: None,
            redis: None,
            redis_file: None,
            roles: Role::ALL.to_vec(),
            mode: Mode::Production,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            forwarded_header: ForwardedHeader::XForwardedFor,
            debug_echo: false,
        }
    }
}

impl Server {
    /// Whether an address is a proxy's that is believed.
    pub fn trusts(&self, ip: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(ip))
    }

    pub fn has_role(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// What `store` names. Its text is never quoted: it may hold a password.
    pub fn store_choice(&self) -> Result<StoreChoice, ConfigError> {
        match self.store.expose() {
            "sqlite" => Ok(StoreChoice::Sqlite),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Ok(StoreChoice::Postgres(SecretString::from(url)))
            }
            _ => {
                let message = "must be sqlite or a URL such as postgres://user:password@host/database";
                Err(ConfigError::invalid("server.store", message))
            }
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let store = self.store_choice()?;
        if let StoreChoice::Postgres(url) = &store {
            // Its error quotes nothing.
            let read = PostgresConfig::new(url.expose_secret()).hosts();
            read.map_err(|error| ConfigError::invalid("server.store", error.to_string()))?;
        }
        if self.data.as_os_str().is_empty() {
            return Err(ConfigError::invalid("server.data", "must name a folder"));
        }
        if self.ops_listen.0.is_some_and(|a| !a.ip().is_loopback()) {
            return Err(ConfigError::invalid("server.ops_listen", NOT_LOOPBACK));
        }
        if self.roles.is_empty() {
            return Err(ConfigError::invalid(
                "server.roles",
                "must name api, scheduler or webhooks, or several of them",
            ));
        }
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            let message = "needs server.trusted_proxies: only those that it names are asked for a header";
            return Err(ConfigError::invalid("server.proxy_protocol", message));
        }
        let alone = matches!(store, StoreChoice::Sqlite);
        if alone && self.reuse_port {
            let message = "is for servers on one PostgreSQL (server.store): the embedded store is locked by the server that has it, and a second one \
                           could not start beside it. For a restart without a refused connection let systemd bind the port (tidings.socket)";
            return Err(ConfigError::invalid("server.reuse_port", message));
        }
        if alone && Role::ALL.iter().any(|role| !self.has_role(*role)) {
            let message = "must name every role: the embedded store (server.store) is one server's alone";
            return Err(ConfigError::invalid("server.roles", message));
        }
        self.validate_redis(alone)
    }

    fn validate_redis(&self, alone: bool) -> Result<(), ConfigError> {
        let Some(redis) = &self.redis else { return Ok(()) };
        if alone {
            let message =
                "is for servers on one PostgreSQL (server.store): the embedded store is one server's alone";
            return Err(ConfigError::invalid("server.redis", message));
        }
        // Its error quotes nothing.
        let read = RedisConfig::new(redis.expose(), "tidings");
        read.map(drop).map_err(|error| ConfigError::invalid("server.redis", error.to_string()))
    }
}
