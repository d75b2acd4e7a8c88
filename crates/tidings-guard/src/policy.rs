use std::net::{IpAddr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};

use crate::{
    Ports, Range, Refusal, address,
    embedded::{meanings, translated},
    locality::is_local,
    metadata::is_metadata,
};

mod url;

/// What may be called.
///
/// The default: https, ports 443 and 1024 to 65535, public addresses.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    http: bool,
    ports: Ports,
    allow: Vec<IpNet>,
    own: Vec<(IpAddr, u16)>,
    own_everywhere: Vec<u16>,
    nat64: Vec<Ipv6Net>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("an allow-listed range is at most a /8, and {0} is wider")]
    TooWide(IpNet),
    #[error("a NAT64 prefix has 32, 40, 48, 56, 64 or 96 bits, and {0} has not")]
    Nat64(Ipv6Net),
}

/// Why an address is permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grounds {
    /// It is public, and its port is permitted.
    Public,
    /// It is on the allow-list, which lifts the rules for scheme, port and name.
    Listed,
}

impl Policy {
    /// Permits `http://` everywhere. Port 80 is for [`Policy::with_ports`] to permit.
    #[must_use]
    pub const fn with_http(mut self) -> Self {
        self.http = true;
        self
    }

    #[must_use]
    pub fn with_ports(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }

    /// Lifts the rules on range, scheme, port and name for addresses inside `net`: for development, and for partners in one's
    /// own network. Metadata services and our own addresses stay refused.
    pub fn with_allowed(mut self, net: IpNet) -> Result<Self, PolicyError> {
        if net.prefix_len() < 8 {
            return Err(PolicyError::TooWide(net));
        }
        self.allow.push(net);
        Ok(self)
    }

    /// Refuses a service of our own: the listeners, the database, the cache. An unspecified address (`0.0.0.0:3000`)
    /// stands for every address that this machine has at the time of judgement.
    #[must_use]
    pub fn with_own(mut self, service: SocketAddr) -> Self {
        if service.ip().is_unspecified() {
            self.own_everywhere.push(service.port());
        } else {
            self.own.push((service.ip().to_canonical(), service.port()));
        }
        self
    }

    /// Refuses a prefix by which this network translates to IPv4 (RFC 6052); the well-known one is always refused. Where
    /// [`Policy::with_allowed`] lists it, what it translates to is judged as if it were called itself.
    pub fn with_nat64(mut self, prefix: Ipv6Net) -> Result<Self, PolicyError> {
        if !matches!(prefix.prefix_len(), 32 | 40 | 48 | 56 | 64 | 96) {
            return Err(PolicyError::Nat64(prefix));
        }
        self.nat64.push(prefix);
        Ok(self)
    }

    /// The ranges of [`Policy::with_allowed`].
    pub fn allowed(&self) -> &[IpNet] {
        &self.allow
    }

    /// Decides on an address: the only function that does.
    ///
    /// Refusals come in an order that tells nothing of our own services: they differ from their neighbours only where
    /// the neighbours are permitted.
    pub fn judge_address(&self, address: SocketAddr) -> Result<Grounds, Refusal> {
        let (ip, port) = (address.ip(), address.port());
        let listed = self.lists(ip);
        if meanings(ip, &self.nat64).any(is_metadata) {
            return Err(Refusal::Address(Range::Metadata));
        }
        if let Some(range) = address::refused(ip, &self.nat64).filter(|_| !listed) {
            return Err(Refusal::Address(range));
        }
        // Listing a translator's prefix opens it for what anybody may call, and not for the inside behind it.
        let mut behind =
            translated(ip, &self.nat64).into_iter().map(IpAddr::V4).filter(|ip| !self.lists(*ip));
        if let Some(range) = behind.find_map(|ip| address::refused(ip, &[])) {
            return Err(Refusal::Address(range));
        }
        if port == 0 || !(listed || self.ports.contains(port)) {
            return Err(Refusal::Port);
        }
        if meanings(ip, &self.nat64).any(|meaning| self.owns(meaning, port)) {
            return Err(Refusal::Own);
        }
        Ok(if listed { Grounds::Listed } else { Grounds::Public })
    }

    fn lists(&self, ip: IpAddr) -> bool {
        self.allow.iter().any(|net| net.contains(&ip) || net.contains(&ip.to_canonical()))
    }

    fn owns(&self, ip: IpAddr, port: u16) -> bool {
        self.own.contains(&(ip, port)) || (self.own_everywhere.contains(&port) && is_local(ip))
    }
}
