//! What proxies say of those for whom they speak.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};

use crate::config::ForwardedHeader;

/// Entries that are looked at, from the nearest proxy outwards. Behind more trusted proxies than that, the last
/// one counts as the client.
const ENTRIES_MAX: usize = 32;

impl ForwardedHeader {
    pub(crate) const fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            Self::Forwarded => header::FORWARDED,
        }
    }
}

/// The client behind the trusted `peer`: from the right, the first that is not trusted itself. Whatever is further left may
/// have been written by anybody. An entry that does not read ends the search: then the proxy that wrote it counts.
pub(super) fn client(
    peer: IpAddr,
    header: ForwardedHeader,
    headers: &HeaderMap,
    trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut nearest = peer;
    let lines = headers.get_all(header.name()).iter().rev();
    let entries = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
    for entry in entries.take(ENTRIES_MAX) {
        let ip = match header {
            ForwardedHeader::XForwardedFor => address(entry.trim()),
            ForwardedHeader::Forwarded => forwarded_for(entry).and_then(address),
        };
        let Some(ip) = ip else { break };
        nearest = ip;
        if !trusted(ip) {
            break;
        }
    }
    nearest
}

/// `for=` of one element of RFC 7239.
fn forwarded_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
    let (_, value) = values.next()?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value))
}

/// An address, with or without a port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let ip: Option<IpAddr> = text.parse().ok().or_else(with_port).or_else(bracketed);
    ip.map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(header: ForwardedHeader, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header.name(), line.parse().expect("a value"));
        }
        let trusted = |ip: IpAddr| ip.to_string().starts_with("10.") || ip.to_string().starts_with("fd");
        client(IpAddr::from([10, 0, 0, 1]), header, &headers, trusted).to_string()
    }

    #[test]
    fn the_rightmost_that_is_not_trusted_is_the_client() {
        let found = |lines: &[&str]| found(ForwardedHeader::XForwardedFor, lines);
        assert_eq!(found(&["192.0.2.1"]), "192.0.2.1");
        assert_eq!(
            found(&["6.6.6.6, 192.0.2.1"]),
            "192.0.2.1",
            "what a client wrote itself counts for nothing"
        );
        assert_eq!(found(&["6.6.6.6, 192.0.2.1, 10.0.0.2 ,10.0.0.3"]), "192.0.2.1", "over several proxies");
        assert_eq!(found(&["6.6.6.6", "192.0.2.1", "10.0.0.2"]), "192.0.2.1", "lines are one list");
        assert_eq!(found(&["10.0.0.9, 10.0.0.2"]), "10.0.0.9", "a client among the proxies");
        assert_eq!(found(&["192.0.2.1:4711"]), "192.0.2.1");
        assert_eq!(found(&["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(found(&["2001:db8::1"]), "2001:db8::1");
        assert_eq!(found(&["::ffff:192.0.2.1"]), "192.0.2.1");
        for broken in ["", "unknown", "192.0.2.1, ?", "192.0.2.1,", "1.2.3"] {
            assert_eq!(found(&[broken]), "10.0.0.1", "{broken:?}: the proxy that wrote it counts");
        }
        assert_eq!(found(&["192.0.2.1, nonsense, 10.0.0.7"]), "10.0.0.7");
        assert_eq!(found(&[]), "10.0.0.1");
    }

    #[test]
    fn the_standard_header_reads_too() {
        let found = |lines: &[&str]| found(ForwardedHeader::Forwarded, lines);
        assert_eq!(found(&["for=192.0.2.60;proto=http;by=203.0.113.43"]), "192.0.2.60");
        assert_eq!(found(&["for=6.6.6.6, For=\"[2001:db8:cafe::17]:4711\""]), "2001:db8:cafe::17");
        assert_eq!(found(&["for=192.0.2.43, for=10.0.0.3"]), "192.0.2.43");
        for hidden in ["for=unknown", "for=_gazonk", "by=192.0.2.1", "for=\"192.0.2.1", "proto=https"] {
            assert_eq!(found(&[hidden]), "10.0.0.1", "{hidden}");
        }
    }

    proptest! {
        /// Whatever a client sends, the proxy appends where it came from, and that is what counts.
        #[test]
        fn no_client_names_another_address(sent in "[ -~]{0,200}") {
            let line = format!("{sent}, 192.0.2.1");
            prop_assert_eq!(found(ForwardedHeader::XForwardedFor, &[&line]), "192.0.2.1");
            prop_assert_eq!(found(ForwardedHeader::Forwarded, &[&sent, "for=192.0.2.1"]), "192.0.2.1");
        }
    }
}
