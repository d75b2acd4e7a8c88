//! The ranges once more, as the registries write them and in another way than the guard computes them.

use std::net::IpAddr;

use tidings_guard::IpNet;

pub(crate) const V4_REFUSED: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

pub(crate) const V6_ALLOWED: &str = "2000::/3";

pub(crate) const V6_REFUSED: &[&str] =
    &["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48"];

pub(crate) const METADATA: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "169.254.42.42",
    "fd00:42::42",
];

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn is_public(ip: IpAddr) -> bool {
    let within = |nets: &[&str]| nets.iter().any(|text| net(text).contains(&ip));
    match ip {
        IpAddr::V4(_) => !within(V4_REFUSED),
        IpAddr::V6(v6) => {
            let interface = &v6.octets()[8..12];
            let isatap = matches!(interface, [0 | 2, 0, 0x5e, 0xfe]);
            within(&[V6_ALLOWED]) && !within(V6_REFUSED) && !isatap
        }
    }
}
