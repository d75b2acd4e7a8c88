use std::sync::Arc;

use http::{HeaderValue, Uri};
use tidings_guard::{Host, Target};

/// Where messages go: a URL that the guard has judged, in the forms that requests need.
#[derive(Debug, Clone)]
pub struct Destination {
    target: Target,
    key: Key,
    authority: HeaderValue,
    path: Uri,
    whole: Uri,
}

/// What shares connections. Name and port are those of the URL: the same address under two names is two hosts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    host: Host,
    port: u16,
    https: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the URL cannot be written into a request")]
pub struct DestinationError;

impl Destination {
    pub fn new(target: Target) -> Result<Arc<Self>, DestinationError> {
        let url = target.url();
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path: Uri = format!("{}{query}", url.path()).parse().map_err(|_| DestinationError)?;
        let host = url.host_str().ok_or(DestinationError)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let whole = format!("{}://{authority}{path}", url.scheme()).parse().map_err(|_| DestinationError)?;
        let authority = HeaderValue::try_from(authority).map_err(|_| DestinationError)?;
        let key = Key { host: target.host().clone(), port: target.port(), https: target.is_https() };
        Ok(Arc::new(Self { target, key, authority, path, whole }))
    }

    pub const fn target(&self) -> &Target {
        &self.target
    }

    pub(super) const fn key(&self) -> &Key {
        &self.key
    }

    /// The value of `Host`.
    pub(super) const fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// Path and query, as HTTP/1.1 asks for them.
    pub(super) const fn path(&self) -> &Uri {
        &self.path
    }

    pub(super) const fn whole(&self) -> &Uri {
        &self.whole
    }

    pub(super) const fn is_literal(&self) -> bool {
        matches!(self.key.host, Host::Address(_))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidings_guard::Policy;

    use super::*;

    fn destination(url: &str) -> Arc<Destination> {
        Destination::new(Policy::default().judge_url(url).unwrap()).unwrap()
    }

    #[test]
    fn a_destination_is_written_as_http_wants_it() {
        let destination = destination("https://Partner.Example.:8443/a%20b?c=d#e");
        assert_eq!(destination.authority(), "partner.example:8443");
        assert_eq!(destination.path(), "/a%20b?c=d");
        assert_eq!(destination.whole(), "https://partner.example:8443/a%20b?c=d");
    }

    #[test]
    fn default_ports_are_left_out_and_addresses_bracketed() {
        assert_eq!(destination("https://partner.example:443").authority(), "partner.example");
        assert_eq!(
            destination("https://[2606:2800:220:1::1]:8443/").authority(),
            "[2606:2800:220:1::1]:8443"
        );
        assert_eq!(destination("https://partner.example").path(), "/");
    }

    proptest! {
        #[test]
        fn whatever_the_guard_accepts_can_be_written(rest in "[!-~é☃]{0,40}") {
            if let Ok(target) = Policy::default().judge_url(&format!("https://partner.example/{rest}")) {
                prop_assert!(Destination::new(target).is_ok(), "{}", rest);
            }
        }
    }
}
