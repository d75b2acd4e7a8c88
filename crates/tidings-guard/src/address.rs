//! The ranges, from the special-purpose registries of IANA and the clouds' manuals.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::refusal::Range;

const fn v4(a: u8, b: u8, c: u8, d: u8, len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len)
}

const fn v6(start: [u16; 4], len: u8) -> Ipv6Net {
    let [a, b, c, d] = start;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), len)
}

/// Everything else of IPv4 is public.
const V4: &[(Ipv4Net, Range)] = &[
    (v4(0, 0, 0, 0, 8), Range::Unspecified),
    (v4(10, 0, 0, 0, 8), Range::Private),
    (v4(100, 64, 0, 0, 10), Range::Shared),
    (v4(127, 0, 0, 0, 8), Range::Loopback),
    // Azure's wire server: public by registry, inside by nature.
    (v4(168, 63, 129, 16, 32), Range::Metadata),
    (v4(169, 254, 0, 0, 16), Range::LinkLocal),
    (v4(172, 16, 0, 0, 12), Range::Private),
    (v4(192, 0, 0, 0, 24), Range::Reserved),
    (v4(192, 0, 2, 0, 24), Range::Documentation),
    // AS112, AMT and the withdrawn 6to4 relays: anycast that ends at whoever is nearest.
    (v4(192, 31, 196, 0, 24), Range::Reserved),
    (v4(192, 52, 193, 0, 24), Range::Reserved),
    (v4(192, 88, 99, 0, 24), Range::Reserved),
    (v4(192, 168, 0, 0, 16), Range::Private),
    (v4(192, 175, 48, 0, 24), Range::Reserved),
    (v4(198, 18, 0, 0, 15), Range::Benchmarking),
    (v4(198, 51, 100, 0, 24), Range::Documentation),
    (v4(203, 0, 113, 0, 24), Range::Documentation),
    (v4(224, 0, 0, 0, 4), Range::Multicast),
    (v4(240, 0, 0, 0, 4), Range::Reserved),
];

/// All that has been given to the internet.
const V6_GLOBAL: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// What is refused inside of it.
const V6: &[(Ipv6Net, Range)] = &[
    (v6([0x2001, 0xdb8, 0, 0], 32), Range::Documentation),
    // Protocol assignments, Teredo and ORCHID among them.
    (v6([0x2001, 0, 0, 0], 23), Range::Reserved),
    (v6([0x2002, 0, 0, 0], 16), Range::Embedded),
    (v6([0x2620, 0x4f, 0x8000, 0], 48), Range::Reserved),
    (v6([0x3fff, 0, 0, 0], 20), Range::Documentation),
];

/// Names for what lies outside of it; the rest there is reserved.
const V6_OUTSIDE: &[(Ipv6Net, Range)] = &[
    (v6([0x64, 0xff9b, 0, 0], 96), Range::Embedded),
    (v6([0x64, 0xff9b, 1, 0], 48), Range::Embedded),
    (v6([0xfc00, 0, 0, 0], 7), Range::Private),
    (v6([0xfe80, 0, 0, 0], 10), Range::LinkLocal),
    (v6([0xfec0, 0, 0, 0], 10), Range::Private),
    (v6([0xff00, 0, 0, 0], 8), Range::Multicast),
];

/// The range that `address` is refused for; none for a public address. Prefixes in `nat64` are embeddings too.
pub(crate) fn refused(address: IpAddr, nat64: &[Ipv6Net]) -> Option<Range> {
    match address {
        IpAddr::V4(address) => find(V4, |net| net.contains(&address)),
        IpAddr::V6(address) if nat64.iter().any(|net| net.contains(&address)) => Some(Range::Embedded),
        IpAddr::V6(address) if V6_GLOBAL.contains(&address) => {
            find(V6, |net| net.contains(&address)).or_else(|| isatap(address).then_some(Range::Embedded))
        }
        IpAddr::V6(address) => Some(outside(address)),
    }
}

/// `::/96` (compatible), `::ffff:0:0/96` (mapped) and `::ffff:0:0:0/96` (translated) all begin with 64 zero bits.
fn outside(address: Ipv6Addr) -> Range {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Range::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Range::Loopback,
        [0, 0, 0, 0, 0 | 0xffff, 0 | 0xffff, ..] => Range::Embedded,
        _ => find(V6_OUTSIDE, |net| net.contains(&address)).unwrap_or(Range::Reserved),
    }
}

/// An interface id `[0200:]5efe:a.b.c.d` tunnels to that IPv4 address.
pub(crate) fn isatap(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, _, _])
}

fn find<N>(table: &[(N, Range)], contains: impl Fn(&N) -> bool) -> Option<Range> {
    table.iter().find(|(net, _)| contains(net)).map(|(_, range)| *range)
}
