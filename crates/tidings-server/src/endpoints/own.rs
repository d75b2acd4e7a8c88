//! What is ours and answers on a port: nobody's webhook goes there, whatever the allow-list says.

use std::net::{SocketAddr, ToSocketAddrs as _};

use tidings_store::OpenError;

use crate::{
    app::{StartError, open},
    config::{Config, StoreChoice},
};

/// Our listeners, the database and Redis, by the addresses that their names have now. Asking for these may block.
/// URLs are read by what connects to them, so that no way to write a host is known to one of both alone.
pub(super) fn services(config: &Config) -> Result<Vec<SocketAddr>, StartError> {
    let server = &config.server;
    let mut services: Vec<_> = std::iter::once(server.listen).chain(server.ops_listen.0).collect();
    let mut hosts = Vec::new();
    if let StoreChoice::Postgres(url) = server.store_choice()? {
        hosts.extend(open::postgres_config(config, &url).hosts().map_err(OpenError::from)?);
    }
    if let Some(redis) = &server.redis {
        hosts.extend(open::redis_config(redis, "own")?.hosts());
    }
    for host in hosts {
        match host.to_socket_addrs() {
            Ok(addresses) => services.extend(addresses),
            Err(error) => {
                tracing::warn!(host = host.0, %error, "webhooks are not kept from this host: it has no address now");
            }
        }
    }
    Ok(services)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn listeners_every_database_and_every_redis_are_ours() {
        let mut config = Config::default();
        config.server.listen = "0.0.0.0:3000".parse().expect("an address");
        config.server.store = Secret::new("postgres://ana:pw@127.0.0.1:5433,127.0.0.3:5434/x");
        config.server.redis = Some(Secret::new("redis://u:p@127.0.0.2,redis://u:p@127.0.0.9:12379"));
        let ours = services(&config).expect("they read");
        for expected in [
            "0.0.0.0:3000",
            "127.0.0.1:5433",
            "127.0.0.3:5434",
            "127.0.0.2:6379",
            "127.0.0.9:12379",
            "127.0.0.1:9464",
        ] {
            assert!(ours.contains(&expected.parse().expect("an address")), "{expected} of {ours:?}");
        }
    }
}
