use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion};

use super::address;

/// Which Redis, and what it is used for. What it prints never holds the password.
#[derive(Clone)]
pub struct RedisConfig {
    /// In the order in which they are tried. Of a Redis Cluster some are enough.
    pub(super) servers: Vec<ConnectionInfo>,
    /// PEM of the authorities that `rediss://` trusts instead of the system's.
    pub(super) authorities: Option<Vec<u8>>,
    /// Part of every channel's name, so that clusters may share one Redis.
    pub(super) cluster: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedisConfigError {
    #[error(
        "a Redis address is written redis://[user:password@]host[:port], rediss:// for TLS, or several joined by commas"
    )]
    Address,
    #[error("several Redis addresses must have the same scheme, user and password")]
    Different,
    #[error("the file of authorities holds no certificate in PEM")]
    Authorities,
    #[error("a cluster's name is 1 to 64 letters, digits, '-', '_' and '.'")]
    Cluster,
}

impl RedisConfig {
    /// `addresses` is one URL or several joined by commas; in those after the first, `host:port` is enough.
    /// `cluster` names the nodes that share a store: another name's events never come here.
    pub fn new(addresses: &str, cluster: &str) -> Result<Self, RedisConfigError> {
        let named = (1..=64).contains(&cluster.len())
            && cluster.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !named {
            return Err(RedisConfigError::Cluster);
        }
        let servers =
            address::split(addresses).iter().map(|url| server(url)).collect::<Result<Vec<_>, _>>()?;
        let first = servers.first().ok_or(RedisConfigError::Address)?;
        let same = |other: &ConnectionInfo| {
            let (a, b) = (first.redis_settings(), other.redis_settings());
            a.username() == b.username() && a.password() == b.password() && tls(first) == tls(other)
        };
        if !servers.iter().all(same) {
            return Err(RedisConfigError::Different);
        }
        Ok(Self { servers, authorities: None, cluster: cluster.into() })
    }

    /// Trusts these authorities alone.
    pub fn with_authorities(mut self, pem: Vec<u8>) -> Result<Self, RedisConfigError> {
        const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
        if !pem.windows(BEGIN.len()).any(|at| at == BEGIN) {
            return Err(RedisConfigError::Authorities);
        }
        self.authorities = Some(pem);
        Ok(self)
    }

    /// Where each address goes: host, an address of IPv6 without brackets, and port.
    pub fn hosts(&self) -> Vec<(String, u16)> {
        let host = |server: &ConnectionInfo| match server.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some((host.trim_matches(['[', ']']).to_owned(), *port))
            }
            _ => None,
        };
        self.servers.iter().filter_map(host).collect()
    }

    pub(super) fn uses_tls(&self) -> bool {
        self.servers.iter().any(tls)
    }
}

fn tls(server: &ConnectionInfo) -> bool {
    matches!(server.addr(), ConnectionAddr::TcpTls { .. })
}

fn server(url: &str) -> Result<ConnectionInfo, RedisConfigError> {
    // The library's error may quote the URL.
    let info = url.into_connection_info().map_err(|_| RedisConfigError::Address)?;
    if matches!(info.addr(), ConnectionAddr::Unix(_)) {
        return Err(RedisConfigError::Address);
    }
    let settings = info.redis_settings().clone();
    // Both pushes and answers come over one connection.
    Ok(info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name()))
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(|server| server.addr().to_string()).collect();
        f.debug_struct("RedisConfig")
            .field("servers", &servers)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(addresses: &str) -> Result<RedisConfig, RedisConfigError> {
        RedisConfig::new(addresses, "c1")
    }

    #[test]
    fn addresses_are_urls_joined_by_commas() {
        let servers = |text: &str| {
            let config = config(text).expect("reads");
            config.servers.iter().map(|s| s.addr().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(servers("redis://10.0.0.1"), ["10.0.0.1:6379"]);
        assert_eq!(servers("redis://u:p@a:1, b:2,redis://u:p@c"), ["a:1", "b:2", "c:6379"]);
        assert!(config("rediss://a").expect("reads").uses_tls());
        for bad in ["", "a:1", "http://a", "redis+unix:///tmp/x", "redis://a:port", "redis://"] {
            assert_eq!(config(bad).err(), Some(RedisConfigError::Address), "{bad}");
        }
        assert_eq!(config("redis://u:p@a,redis://u:q@b").err(), Some(RedisConfigError::Different));
        assert_eq!(config("redis://a,rediss://b").err(), Some(RedisConfigError::Different));
        assert_eq!(RedisConfig::new("redis://a", "a:b").err(), Some(RedisConfigError::Cluster));
    }

    #[test]
    fn every_address_is_a_host_of_its_own() {
        let hosts = config("rediss://u:p@a:1, b,rediss://u:p@[fd00::1]:7").expect("reads").hosts();
        assert_eq!(hosts, [("a".into(), 1), ("b".into(), 6379), ("fd00::1".into(), 7)]);
    }

    #[test]
    fn a_password_is_never_printed() {
        let config = config("rediss://ana:geheim%21@a:1,b:2").expect("reads");
        assert_eq!(config.servers[1].redis_settings().password(), Some("geheim!"));
        let printed = format!("{config:?} {config:#?}");
        assert!(!printed.contains("geheim") && !printed.contains("ana"), "{printed}");
        for bad in ["redis://ana:geheim@a:port", "redis://ana:geheim@a,redis://b"] {
            let error = RedisConfig::new(bad, "c1").expect_err("is refused");
            assert!(!format!("{error} {error:?}").contains("geheim"));
        }
    }
}
