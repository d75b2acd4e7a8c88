//! What is ours and answers on a port: nobody's webhook goes there, whatever the allow-list says.

use std::net::{SocketAddr, ToSocketAddrs as _};

use crate::config::Config;

/// Our listeners, the database and Redis, by the addresses that their names have now. Asking for these may block.
pub(super) fn services(config: &Config) -> Vec<SocketAddr> {
    let server = &config.server;
    let mut services: Vec<_> = std::iter::once(server.listen).chain(server.ops_listen.0).collect();
    let redis = server.redis.as_ref().map(|url| hosts(url.expose(), 6379)).unwrap_or_default();
    for host in hosts(server.store.expose(), 5432).into_iter().chain(redis) {
        match host.to_socket_addrs() {
            Ok(addresses) => services.extend(addresses),
            Err(error) => {
                tracing::warn!(host = host.0, %error, "webhooks are not kept from this host: it has no address now");
            }
        }
    }
    services
}

/// Of `scheme://user:password@host:port,host/…?host=…&port=…`. The path of a socket is no host.
fn hosts(url: &str, port: u16) -> Vec<(String, u16)> {
    let Some((_, rest)) = url.split_once("://") else { return Vec::new() };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let named = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let of = |key: &str| {
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v)
    };
    let port = of("port").and_then(|port| port.parse().ok()).unwrap_or(port);
    let lists = [Some(named), of("host"), of("hostaddr")].into_iter().flatten();
    lists.flat_map(|list| list.split(',')).filter_map(|host| split(host, port)).collect()
}

fn split(host: &str, port: u16) -> Option<(String, u16)> {
    let written = host.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
    // An address of IPv6 without brackets has no port.
    let (name, port) =
        written.filter(|(name, _)| !name.contains(':') || name.ends_with(']')).unwrap_or((host, port));
    let name = name.trim_start_matches('[').trim_end_matches(']');
    (!name.is_empty() && !name.starts_with(['/', '%', '@'])).then(|| (name.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn written(url: &str) -> Vec<String> {
        hosts(url, 5432).into_iter().map(|(name, port)| format!("{name} {port}")).collect()
    }

    #[test]
    fn every_host_of_a_url_is_found() {
        for (url, expected) in [
            ("sqlite", &[][..]),
            ("postgres://db", &["db 5432"]),
            ("postgres://ana:hunt%40er2@db:5433/x?sslmode=require", &["db 5433"]),
            ("postgres://ana@a:1,b/x", &["a 1", "b 5432"]),
            ("postgres://[::1]:5433/x", &["::1 5433"]),
            ("postgres://ana@[fd00::1]/x", &["fd00::1 5432"]),
            ("postgres:///x?host=/run/pg", &[]),
            ("postgres://%2Frun%2Fpg/x", &[]),
            ("postgres:///x?host=a,b&port=5433", &["a 5433", "b 5433"]),
            ("postgres://a/x?hostaddr=10.0.0.1", &["a 5432", "10.0.0.1 5432"]),
            ("rediss://:secret@cache:6380/0", &["cache 6380"]),
        ] {
            assert_eq!(written(url), expected, "{url}");
        }
    }

    #[test]
    fn listeners_the_database_and_redis_are_ours() {
        let mut config = Config::default();
        config.server.listen = "0.0.0.0:3000".parse().expect("an address");
        config.server.store = Secret::new("postgres://ana:pw@127.0.0.1:5433/x");
        config.server.redis = Some(Secret::new("redis://127.0.0.2"));
        let ours = services(&config);
        for expected in ["0.0.0.0:3000", "127.0.0.1:5433", "127.0.0.2:6379", "127.0.0.1:9464"] {
            assert!(ours.contains(&expected.parse().expect("an address")), "{expected} of {ours:?}");
        }
    }
}
