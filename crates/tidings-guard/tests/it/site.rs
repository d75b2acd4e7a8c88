//! Listeners, and a connector whose name server is the test's.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use tidings_guard::{ConnectError, Connector, ConnectorConfig, Dns, DnsConfig, Policy, Stream};

use crate::{name_server::NameServer, table::net};

/// Nothing that these tests wait for takes so long.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `127.0.0.2` stands for the world, `127.0.0.1` for the inside; both listen on one port.
pub(crate) struct Site {
    pub(crate) outside: TcpListener,
    inside: TcpListener,
    pub(crate) port: u16,
}

impl Site {
    pub(crate) fn open() -> Self {
        loop {
            let outside = TcpListener::bind("127.0.0.2:0").unwrap();
            let port = outside.local_addr().unwrap().port();
            let Ok(inside) =
                TcpListener::bind(("0.0.0.0", port)).or_else(|_| TcpListener::bind(("127.0.0.1", port)))
            else {
                continue;
            };
            inside.set_nonblocking(true).unwrap();
            return Self { outside, inside, port };
        }
    }

    /// Whether nobody has knocked inside.
    pub(crate) fn inside_was_silent(&self) -> bool {
        matches!(self.inside.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

pub(crate) fn outside_only() -> Policy {
    Policy::default().with_allowed(net("127.0.0.2/32")).unwrap()
}

pub(crate) fn dns(servers: &[&NameServer]) -> DnsConfig {
    let mut config = DnsConfig::new(servers.iter().map(|server| server.addr).collect());
    config.timeout = Duration::from_millis(300);
    config.rounds = 1;
    config
}

pub(crate) fn connector(policy: Policy, dns: DnsConfig) -> Connector {
    let mut config = ConnectorConfig::new(policy);
    config.resolver = Arc::new(Dns::new(dns));
    Connector::new(config).unwrap()
}

pub(crate) async fn connect(connector: &Connector, url: &str) -> Result<Stream, ConnectError> {
    let target = connector.policy().judge_url(url).map_err(ConnectError::Refused)?;
    connector.connect(&target, LONG).await
}

pub(crate) fn silent(addr: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(addr).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}
