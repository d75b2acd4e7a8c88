//! Where a request comes from, and what one address may begin: so many streams at once, so many upgrades in
//! a while, and so many connections that are no streams. Refused before anything of the request is looked at but its path and
//! its headers of addresses; a connection before anything of it is read.

mod connections;
mod forwarded;
mod held;

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::HeaderMap;
use tidings_core::{Clock, Exceeded, Quota};

use crate::{
    config::ForwardedHeader,
    problem::{Kind, Problem},
    rates::Rates,
    settings::Settings,
};

pub(crate) use connections::Connections;
use held::{Held, Place};

/// Addresses whose upgrades are counted at one time.
const ADDRESSES_MAX: usize = 65_536;

/// Counts by address, on this node alone. A clone is the same one.
#[derive(Debug, Clone)]
pub(crate) struct Addresses(Arc<Shared>);

struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    upgrades: Rates<Address>,
    /// Streams that are open or being opened.
    streams: Arc<Held<Address>>,
    warned: AtomicBool,
}

/// What counts as one client: an IPv4 address, or the /64 of an IPv6 address, which is one customer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Address(IpAddr);

/// A stream's place under the limit of its address. The request carries it; it is free when the last of
/// its clones is dropped.
#[derive(Debug, Clone)]
pub(crate) struct AddressPlace {
    _place: Arc<Place<Address>>,
}

impl Addresses {
    pub(crate) fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            settings,
            clock,
            upgrades: Rates::new(ADDRESSES_MAX),
            streams: Arc::default(),
            warned: AtomicBool::new(false),
        }))
    }

    /// The client behind `peer`, which may be a proxy that says for whom it speaks.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let server = &self.0.settings.get().server;
        let trusted = |ip: IpAddr| server.trusts(ip);
        let peer = peer.ip().to_canonical();
        if trusted(peer) {
            return forwarded::client(peer, server.forwarded_header, headers, trusted);
        }
        let said = ForwardedHeader::ALL
            .map(ForwardedHeader::name)
            .into_iter()
            .find(|name| headers.contains_key(name));
        if let Some(header) = said.filter(|_| !self.0.warned.swap(true, Relaxed)) {
            tracing::warn!(
                %peer,
                header = header.as_str(),
                "a request says for whom it was forwarded, by a peer that server.trusted_proxies does not name: if that is \
                 a proxy of yours, name it, else all its clients count as one address"
            );
        }
        peer
    }

    /// A place for one more stream of this client. Where there is none, the attempt costs nothing of its rate.
    pub(crate) fn admit(&self, client: IpAddr) -> Result<AddressPlace, Problem> {
        let of = Address::of(client);
        let settings = self.0.settings.get();
        let (most, rate) = (settings.limits.connections_per_ip.0, settings.limits.upgrades_per_ip.0);
        let place = self.0.streams.take(of, most).ok_or_else(|| too_many(most.unwrap_or_default()))?;
        if let Some(rate) = rate {
            let spent = self.0.upgrades.spend(of, Quota::twice(rate.0), 1, self.0.clock.now());
            spent.map_err(|Exceeded(wait)| too_fast(wait))?;
        }
        Ok(AddressPlace { _place: Arc::new(place) })
    }

    /// Gives back what an attempt cost of this client's rate.
    pub(crate) fn begun_nothing(&self, client: IpAddr) {
        if let Some(rate) = self.0.settings.get().limits.upgrades_per_ip.0 {
            self.0.upgrades.give_back(&Address::of(client), Quota::twice(rate.0), 1);
        }
    }
}

impl Address {
    fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
            ip @ IpAddr::V4(_) => ip,
        })
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Addresses")
    }
}

fn too_fast(wait: Duration) -> Problem {
    let detail = "Your address begins streams faster than one may (limits.upgrades_per_ip).";
    Problem::new(Kind::RateLimited, detail).with("limit", "limits.upgrades_per_ip").retry_after(wait)
}

fn too_many(limit: u32) -> Problem {
    const LATER: Duration = Duration::from_secs(10);
    let detail = format!(
        "An address may have {limit} live connections at one time (limits.connections_per_ip), and they are all open. \
         Close one of them."
    );
    Problem::new(Kind::ConnectionsLimited, detail)
        .with("limit", "limits.connections_per_ip")
        .retry_after(LATER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Off, RateText};

    fn addresses(change: impl FnOnce(&mut Config)) -> Addresses {
        let mut config = Config::default();
        config.limits.upgrades_per_ip = Off::OFF;
        change(&mut config);
        Addresses::new(Settings::new(config), Arc::new(tidings_core::SystemClock))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_so_many_streams_and_an_ipv6_network_counts_as_one() {
        let addresses = addresses(|config| config.limits.connections_per_ip = Off::at(2));
        let limited =
            |client: &str| addresses.admit(ip(client)).err().map(|p| (p.kind(), p.member("limit").cloned()));
        let full = Some((Kind::ConnectionsLimited, Some("limits.connections_per_ip".into())));
        let held = [
            addresses.admit(ip("192.0.2.1")).expect("one"),
            addresses.admit(ip("::ffff:192.0.2.1")).expect("two"),
        ];
        assert_eq!(limited("192.0.2.1"), full);
        assert_eq!(limited("192.0.2.2"), None);
        let six = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9"]
            .map(|client| addresses.admit(ip(client)).expect("two"));
        assert_eq!(limited("2001:db8:1:2:3::4"), full);
        assert_eq!(limited("2001:db8:1:3::1"), None, "another network");
        let again = held[0].clone();
        drop(held);
        assert!(addresses.admit(ip("192.0.2.1")).is_ok());
        drop((again, six));
        assert!(addresses.0.streams.is_empty(), "nobody is remembered who has gone");
    }

    #[test]
    fn an_address_begins_so_many_in_a_second() {
        let addresses = addresses(|config| {
            config.limits.connections_per_ip = Off::OFF;
            config.limits.upgrades_per_ip = Off::at(RateText::per_second(1));
        });
        let begun = (0..5).filter(|_| addresses.admit(ip("192.0.2.1")).is_ok()).count();
        assert_eq!(begun, 2, "the burst");
        let refused = addresses.admit(ip("192.0.2.1")).expect_err("too fast");
        assert_eq!(refused.kind(), Kind::RateLimited);
        assert!(addresses.admit(ip("192.0.2.2")).is_ok());
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let other: HeaderMap =
            [(http::header::FORWARDED, "for=192.0.2.7".parse().expect("a value"))].into_iter().collect();
        let strict = addresses(|_| {});
        assert_eq!(strict.client("203.0.113.9:5".parse().expect("an address"), &other), ip("203.0.113.9"));
        assert!(strict.0.warned.load(Relaxed), "of either header");
        let trusting = addresses(|config| {
            config.server.trusted_proxies =
                vec![serde_json::from_value("10.0.0.0/8".into()).expect("a network")];
        });
        let headers: HeaderMap =
            [(http::HeaderName::from_static("x-forwarded-for"), "192.0.2.7".parse().expect("a value"))]
                .into_iter()
                .collect();
        let peer = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(trusting.client(peer("10.0.0.1:5"), &headers), ip("192.0.2.7"));
        assert!(!trusting.0.warned.load(Relaxed));
        assert_eq!(trusting.client(peer("203.0.113.9:5"), &headers), ip("203.0.113.9"));
        assert!(trusting.0.warned.load(Relaxed), "said once");
        assert_eq!(trusting.client(peer("10.0.0.1:5"), &HeaderMap::new()), ip("10.0.0.1"));
    }
}
