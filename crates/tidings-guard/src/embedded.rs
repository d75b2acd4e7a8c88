//! Which addresses one address may come to mean on its way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use crate::address::isatap;

/// `address` itself and every other that a translator, a tunnel or the kernel may make of it.
///
/// Metadata services and our own are looked for in all of them, since no allow-list lifts those.
pub(crate) fn meanings(address: IpAddr, nat64: &[Ipv6Net]) -> impl Iterator<Item = IpAddr> {
    let (own, embedded) = match address {
        // The kernel takes a connection to "any address" to the loopback interface.
        IpAddr::V4(v4) if v4.is_unspecified() => (Some(Ipv4Addr::LOCALHOST.into()), Vec::new()),
        IpAddr::V4(_) => (None, Vec::new()),
        IpAddr::V6(v6) if v6.is_unspecified() => (Some(Ipv6Addr::LOCALHOST.into()), Vec::new()),
        IpAddr::V6(v6) => (None, embedded(v6, nat64)),
    };
    [Some(address), own].into_iter().flatten().chain(embedded.into_iter().map(IpAddr::V4))
}

fn embedded(address: Ipv6Addr, nat64: &[Ipv6Net]) -> Vec<Ipv4Addr> {
    let bits = address.to_bits();
    let last = at(bits, 96);
    let mut found = Vec::new();
    match address.segments() {
        // Compatible, mapped, translated, and NAT64's well-known prefix.
        [0, 0, 0, 0, 0 | 0xffff, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => found.push(last),
        // NAT64's prefix for local use may be cut at any length.
        [0x64, 0xff9b, 1, ..] => {
            found.extend([last, around_u(bits, 48), around_u(bits, 56), around_u(bits, 64)]);
        }
        [0x2002, ..] => found.push(at(bits, 16)),
        // Teredo: the server, and the client with all bits turned.
        [0x2001, 0, ..] => found.extend([at(bits, 32), Ipv4Addr::from_bits(!last.to_bits())]),
        _ => {}
    }
    if isatap(address) {
        found.push(last);
    }
    found.extend(
        nat64.iter().filter(|net| net.contains(&address)).map(|net| of_nat64(bits, net.prefix_len())),
    );
    found
}

/// The IPv4 addresses to which a translator takes a connection to `address`: by the prefixes that are known, else by the well-known
/// one. How the prefix for local use is cut, nobody knows who was not told.
pub(crate) fn translated(address: IpAddr, nat64: &[Ipv6Net]) -> Vec<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return Vec::new() };
    let known = nat64.iter().filter(|net| net.contains(&address));
    let found: Vec<_> = known.map(|net| of_nat64(address.to_bits(), net.prefix_len())).collect();
    match address.segments() {
        _ if !found.is_empty() => found,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![of_nat64(address.to_bits(), 96)],
        _ => Vec::new(),
    }
}

/// RFC 6052.
const fn of_nat64(bits: u128, prefix: u8) -> Ipv4Addr {
    if prefix == 96 { at(bits, 96) } else { around_u(bits, prefix) }
}

/// The 32 bits from bit `start` on.
const fn at(bits: u128, start: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits((bits << start >> 96) as u32)
}

/// The same without bits 64 to 71, which RFC 6052 keeps free.
const fn around_u(bits: u128, start: u8) -> Ipv4Addr {
    let high = bits >> 64 << 64;
    let low = bits << 72 >> 64;
    let joined = high | low;
    if start < 64 { at(joined, start) } else { at(low << 64, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(address: &str, nat64: &[&str]) -> Vec<String> {
        let nat64: Vec<Ipv6Net> = nat64.iter().map(|net| net.parse().unwrap()).collect();
        meanings(address.parse().unwrap(), &nat64).skip(1).map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn every_embedding_is_taken_apart() {
        for embedding in [
            "::169.254.169.254",
            "::ffff:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2a00::5efe:169.254.169.254",
            "2a00::200:5efe:169.254.169.254",
        ] {
            assert_eq!(means(embedding, &[]), ["169.254.169.254"], "{embedding}");
        }
        assert!(means("64:ff9b:1::169.254.169.254", &[]).contains(&"169.254.169.254".to_owned()));
        assert!(means("2001:0:a9fe:a9fe::", &[]).contains(&"169.254.169.254".to_owned()));
        assert!(means("2001::5601:5601", &[]).contains(&"169.254.169.254".to_owned()));
    }

    /// The examples of RFC 6052, section 2.4.
    #[test]
    fn nat64_prefixes_embed_as_their_rfc_says() {
        for (address, prefix) in [
            ("2001:db8:c000:221::", "2001:db8::/32"),
            ("2001:db8:1c0:2:21::", "2001:db8:100::/40"),
            ("2001:db8:122:c000:2:2100::", "2001:db8:122::/48"),
            ("2001:db8:122:3c0:0:221::", "2001:db8:122:300::/56"),
            ("2001:db8:122:344:c0:2:2100::", "2001:db8:122:344::/64"),
            ("2001:db8:122:344::192.0.2.33", "2001:db8:122:344::/96"),
        ] {
            assert_eq!(means(address, &[prefix]), ["192.0.2.33"], "{address}");
        }
    }

    #[test]
    fn any_address_means_the_loopback_interface() {
        assert_eq!(means("0.0.0.0", &[]), ["127.0.0.1"]);
        assert_eq!(means("::", &[]), ["::1"]);
        assert!(means("93.184.216.34", &[]).is_empty() && means("2a00::1", &[]).is_empty());
    }
}
