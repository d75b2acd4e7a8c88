use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Addresses that belong together, written `10.0.0.0/8`, or one alone, `10.0.0.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether `ip` is one of them; an IPv4 address that is written as IPv6 is the IPv4 address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let alone = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let network = text.parse().ok().or_else(alone);
        network.map(Self).ok_or_else(|| {
            D::Error::custom(format!("{text:?} is no address and no network such as 10.0.0.0/8 or fd00::/8"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_or_an_address_reads_and_says_what_it_contains() {
        let network = |text: &str| serde_json::from_value::<Network>(text.into());
        let contains =
            |text: &str, ip: &str| network(text).expect("reads").contains(ip.parse().expect("an address"));
        assert!(contains("10.0.0.0/8", "10.9.8.7") && !contains("10.0.0.0/8", "11.0.0.1"));
        assert!(contains("10.0.0.0/8", "::ffff:10.9.8.7"));
        assert!(contains("10.0.0.1", "10.0.0.1") && !contains("10.0.0.1", "10.0.0.2"));
        assert!(contains("fd00::/8", "fd12::1") && !contains("fd00::/8", "10.0.0.1"));
        for bad in ["", "10.0.0.0/33", "proxy.internal", "10.0.0.0/8,10.0.0.1"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }
}
