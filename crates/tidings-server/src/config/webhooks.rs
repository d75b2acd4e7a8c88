use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tidings_guard::{EgressProxy, Policy, Ports};

use super::{ConfigError, Off, RateText, Secret, Span};

/// How webhooks are delivered, and where they may go. SIGHUP reloads all of it but `proxy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// For a whole attempt, where an endpoint sets no other.
    pub timeout: Span,
    /// Of it, for looking the name up, connecting and TLS.
    pub connect_timeout: Span,
    /// Of it, from the request's first byte to the answer's head.
    pub first_byte_timeout: Off<Span>,
    /// How often the `default` schedule tries again: 5s, 30s, 3m, 15m, 1h, 4h, 10h, 10h.
    pub retries: usize,
    /// First attempts of all a tenant's endpoints together.
    pub rate_per_tenant: Off<RateText>,
    /// An endpoint at which every attempt failed for so long, without a day between two, is disabled.
    pub disable_after: Span,
    /// How often one that was disabled so is tried with one event, where it has `probe`.
    pub probe_every: Span,
    /// How many endpoints a tenant may have.
    pub endpoints_per_tenant: usize,
    /// Addresses for which the rules on range, scheme, port and name do not hold: for development, and for partners in
    /// one's own network. Said loudly at the start.
    pub allow_cidrs: Vec<String>,
    /// Prefixes by which this network translates IPv6 to IPv4 (RFC 6052). They are refused; where `allow_cidrs` lists one, what it
    /// translates to is judged.
    pub nat64: Vec<String>,
    /// `http://` as well, everywhere.
    pub allow_http: bool,
    /// The ports that may be called.
    pub ports: String,
    /// `host:port` of an HTTP proxy through which every webhook leaves. Names are then the proxy's to judge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// The value of `Proxy-Authorization` for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_authorization: Option<Secret>,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            timeout: Span::secs(10),
            connect_timeout: Span::secs(5),
            first_byte_timeout: Off::OFF,
            retries: 3,
            rate_per_tenant: Off::at(RateText::per_minute(100)),
            disable_after: Span::secs(5 * 86_400),
            probe_every: Span::secs(600),
            endpoints_per_tenant: 1_000,
            allow_cidrs: Vec::new(),
            nat64: Vec::new(),
            allow_http: false,
            ports: "443,1024-65535".into(),
            proxy: None,
            proxy_authorization: None,
        }
    }
}

impl Webhooks {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        for (key, span) in [("disable_after", self.disable_after), ("probe_every", self.probe_every)] {
            if span.0 < std::time::Duration::from_secs(1) {
                return Err(ConfigError::invalid(format!("webhooks.{key}"), "must be at least 1s"));
            }
        }
        let range = Span::secs(1)..=Span::secs(30);
        let timeouts = [
            ("timeout", Some(self.timeout)),
            ("connect_timeout", Some(self.connect_timeout)),
            ("first_byte_timeout", self.first_byte_timeout.0),
        ];
        for (key, span) in timeouts {
            if span.is_some_and(|span| !range.contains(&span)) {
                return Err(ConfigError::invalid(format!("webhooks.{key}"), "must be 1s to 30s"));
            }
        }
        if self.retries > tidings_core::webhook::RetrySchedule::DEFAULT_MAX {
            let most = tidings_core::webhook::RetrySchedule::DEFAULT_MAX;
            return Err(ConfigError::invalid("webhooks.retries", format!("must be at most {most}")));
        }
        if self.proxy.is_none() && self.proxy_authorization.is_some() {
            let message = "is of no use without webhooks.proxy";
            return Err(ConfigError::invalid("webhooks.proxy_authorization", message));
        }
        self.policy(&[]).map(drop)
    }

    /// What may be called; `own` are our own listeners, which nobody may.
    pub fn policy(&self, own: &[SocketAddr]) -> Result<Policy, ConfigError> {
        let ports: Ports =
            self.ports.parse().map_err(|e| ConfigError::invalid("webhooks.ports", format!("{e}")))?;
        let mut policy = Policy::default().with_ports(ports);
        if self.allow_http {
            policy = policy.with_http();
        }
        for cidr in &self.allow_cidrs {
            let bad = |why: String| ConfigError::invalid("webhooks.allow_cidrs", why);
            let net = cidr.parse().map_err(|_| bad(format!("{cidr:?} is no range such as 10.1.0.0/16")))?;
            policy = policy.with_allowed(net).map_err(|e| bad(e.to_string()))?;
        }
        for prefix in &self.nat64 {
            let bad = |why: String| ConfigError::invalid("webhooks.nat64", why);
            let net =
                prefix.parse().map_err(|_| bad(format!("{prefix:?} is no prefix such as 64:ff9b:1::/96")))?;
            policy = policy.with_nat64(net).map_err(|e| bad(e.to_string()))?;
        }
        Ok(own.iter().fold(policy, |policy, service| policy.with_own(*service)))
    }

    pub(crate) fn egress_proxy(&self) -> Option<EgressProxy> {
        let address = self.proxy.clone()?;
        let authorization = self.proxy_authorization.as_ref().map(|secret| secret.expose().to_owned());
        Some(EgressProxy { address, authorization })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_configured_translator_leads_to_is_refused() {
        let webhooks = Webhooks { nat64: vec!["2a00:64::/96".into()], ..Webhooks::default() };
        let judge = |webhooks: &Webhooks, address: &str| {
            webhooks.policy(&[]).expect("valid").judge_address(address.parse().expect("an address")).is_ok()
        };
        assert!(judge(&Webhooks::default(), "[2a00:64::a00:5]:443"));
        assert!(!judge(&webhooks, "[2a00:64::a00:5]:443"));
        let listed = Webhooks { allow_cidrs: vec!["2a00:64::/96".into()], ..webhooks };
        assert!(!judge(&listed, "[2a00:64::a00:5]:443"), "10.0.0.5 is behind it");
        assert!(judge(&listed, "[2a00:64::5db8:d822]:443"), "93.184.216.34 is");
    }

    #[test]
    fn a_wide_range_or_bad_ports_are_refused_at_the_start() {
        let with = |change: fn(&mut Webhooks)| {
            let mut webhooks = Webhooks::default();
            change(&mut webhooks);
            webhooks.validate()
        };
        assert!(with(|_| {}).is_ok());
        assert!(with(|w| w.allow_cidrs = vec!["127.0.0.0/8".into()]).is_ok());
        assert!(with(|w| w.nat64 = vec!["2a00:64::/96".into()]).is_ok());
        for refused in [
            with(|w| w.allow_cidrs = vec!["0.0.0.0/0".into()]),
            with(|w| w.allow_cidrs = vec!["localhost".into()]),
            with(|w| w.nat64 = vec!["2a00:64::/97".into()]),
            with(|w| w.nat64 = vec!["10.0.0.0/8".into()]),
            with(|w| w.ports = "0".into()),
            with(|w| w.timeout = Span::secs(31)),
            with(|w| w.connect_timeout = Span::secs(0)),
            with(|w| w.first_byte_timeout = Off::at(Span::secs(31))),
            with(|w| w.retries = 9),
            with(|w| w.proxy_authorization = Some(Secret::new("x"))),
        ] {
            assert!(refused.is_err());
        }
    }
}
