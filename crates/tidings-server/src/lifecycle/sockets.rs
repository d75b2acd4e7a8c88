use std::net::{SocketAddr, TcpListener};

use crate::{
    app::StartError,
    config::{self, ConfigError, NOT_LOOPBACK},
    listener::{BoundSocket, ListenerConfig, Owner},
};

/// Listening sockets that were bound elsewhere and outlive this process, as a service manager's do: connections that come while
/// nobody accepts wait in their backlog.
#[derive(Debug, Default)]
pub struct Sockets {
    /// In place of `server.listen`.
    pub http: Option<TcpListener>,
    /// In place of `server.ops_listen`.
    pub ops: Option<TcpListener>,
}

impl Sockets {
    /// These, and what is configured in the place of those that are not there.
    pub(super) fn bind(
        self,
        server: &config::Server,
        http_config: ListenerConfig,
        ops_config: ListenerConfig,
    ) -> Result<(BoundSocket, Option<BoundSocket>), StartError> {
        self.check(server)?;
        let owner = if server.reuse_port { Owner::Processes } else { Owner::Process };
        let bind = |address: SocketAddr, config| {
            BoundSocket::bind(address, owner, config).map_err(|source| StartError::Listen { address, source })
        };
        let http = match self.http {
            Some(socket) => BoundSocket::adopt(socket, http_config),
            None => bind(server.listen, http_config)?,
        };
        let ops = match (self.ops, server.ops_listen.0) {
            (Some(socket), _) => Some(BoundSocket::adopt(socket, ops_config)),
            (None, Some(address)) => Some(bind(address, ops_config)?),
            (None, None) => None,
        };
        Ok((http, ops))
    }

    fn check(&self, server: &config::Server) -> Result<(), ConfigError> {
        if self.http.is_some() && server.reuse_port {
            let message = "is for a port that the server binds itself, and it was given a socket for server.listen: leave one of the two out";
            return Err(ConfigError::invalid("server.reuse_port", message));
        }
        let Some(ops) = &self.ops else { return Ok(()) };
        if server.ops_listen.0.is_none() {
            let message = "is off, and the server was given a socket for it: leave one of the two out";
            return Err(ConfigError::invalid("server.ops_listen", message));
        }
        if !ops.local_addr().is_ok_and(|address| address.ip().is_loopback()) {
            let message = format!("the socket that the server was given for it {NOT_LOOPBACK}");
            return Err(ConfigError::invalid("server.ops_listen", message));
        }
        Ok(())
    }
}
