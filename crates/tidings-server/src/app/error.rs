use std::io;

use tidings_auth::{ConfigError as IssuerError, KeysError, OpenError as AuthOpenError};
use tidings_store::OpenError;

use crate::config::ConfigError;

/// Why the server did not start, or a reload was not taken.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Each of its sentences says what was done.
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(
        "server.store is a database, where the servers' keys are kept sealed: secrets.master_key is missing. Make one with \
         `openssl rand -base64 32` and give the same one to every node, as TIDINGS_SECRETS__MASTER_KEY or in the file that \
         secrets.master_key_file names"
    )]
    NoMasterKey,
    #[error("server.redis")]
    Redis(#[from] tidings_live::RedisConfigError),
    #[error("the server's own keys")]
    Keys(#[from] KeysError),
    #[error("the configuration")]
    Config(#[from] ConfigError),
    #[error("the configuration of an issuer")]
    Issuers(#[from] IssuerError),
    #[error("getting ready to judge credentials")]
    Auth(#[from] AuthOpenError),
    #[error("starting the threads that serve live connections")]
    Delivery(#[source] io::Error),
    #[error("listening on {address}")]
    Listen { address: std::net::SocketAddr, source: io::Error },
    #[error("getting ready to call webhooks")]
    Guard(#[source] tidings_guard::SetupError),
    #[error("listening for signals")]
    Signals(#[source] io::Error),
}
