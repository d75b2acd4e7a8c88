use std::{net::IpAddr, sync::Arc};

use url::Url;

use crate::refusal::Refusal;

/// A URL that was judged. Where its host is a name, its addresses are still to be judged, each time they are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) url: Url,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// What speaks against it unless its addresses are on the allow-list.
    pub(crate) owes: Option<Refusal>,
}

/// Where a target is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// Lower-case, after IDNA, without a trailing dot.
    Name(Arc<str>),
    /// Written in the URL, in whatever spelling: never resolved.
    Address(IpAddr),
}

impl Target {
    /// The URL as parsed, which is what is to be called.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    pub const fn host(&self) -> &Host {
        &self.host
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is to be called by TLS.
    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The rule that this URL breaks and that only an allow-listed address lifts.
    pub const fn owes(&self) -> Option<Refusal> {
        self.owes
    }
}
