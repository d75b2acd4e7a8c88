//! Judging a URL, and its addresses once they are known.

use std::net::{IpAddr, SocketAddr};

use url::Url;

use super::{Grounds, Policy};
use crate::{Host, Refusal, Target, name, text};

impl Policy {
    /// Judges a URL by its text. What it names is still to be resolved and judged ([`Policy::judge`]); an address that is
    /// written in it is judged here.
    ///
    /// With an allow-list, a name on `http`, on another port or from inside may yet turn out to have listed addresses:
    /// then the [`Target`] owes the rule, and [`Policy::judge`] collects.
    pub fn judge_url(&self, url: &str) -> Result<Target, Refusal> {
        text::judge(url)?;
        let mut url = Url::parse(url).map_err(|_| Refusal::Host)?;
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or(Refusal::Port)?;
        match url.host().ok_or(Refusal::Host)? {
            url::Host::Ipv4(ip) => self.literal(url, ip.into(), port),
            url::Host::Ipv6(ip) => self.literal(url, ip.into(), port),
            url::Host::Domain(domain) => {
                let name = name::canonical(domain)?;
                url.set_host(Some(&name)).map_err(|_| Refusal::Host)?;
                self.named(url, &name, port)
            }
        }
    }

    /// Judges an address of the target: what `judge_address` says, and what the target owes.
    pub fn judge(&self, target: &Target, ip: IpAddr) -> Result<SocketAddr, Refusal> {
        let address = SocketAddr::new(ip, target.port);
        match (self.judge_address(address), self.debt(target)) {
            // A port comes with its scheme: http would not be permitted on another one either.
            (Ok(Grounds::Public) | Err(Refusal::Port), Some(debt)) => Err(debt),
            (judged, _) => judged.map(|_| address),
        }
    }

    fn literal(&self, url: Url, ip: IpAddr, port: u16) -> Result<Target, Refusal> {
        let target = Target { url, host: Host::Address(ip), port, owes: None };
        self.judge(&target, ip)?;
        Ok(target)
    }

    fn named(&self, url: Url, name: &str, port: u16) -> Result<Target, Refusal> {
        let mut target = Target { url, host: Host::Name(name.into()), port, owes: None };
        target.owes = self.debt(&target);
        match target.owes {
            Some(debt) if self.allow.is_empty() => Err(debt),
            _ => Ok(target),
        }
    }

    /// Worked out anew each time, since the policy may have changed since the target was made.
    pub(crate) fn debt(&self, target: &Target) -> Option<Refusal> {
        if !self.http && !target.is_https() {
            return Some(Refusal::Scheme);
        }
        if !self.ports.contains(target.port) {
            return Some(Refusal::Port);
        }
        match &target.host {
            Host::Name(name) if name::is_inside(name) => Some(Refusal::Name),
            _ => None,
        }
    }
}
