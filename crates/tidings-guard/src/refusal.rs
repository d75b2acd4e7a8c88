use std::fmt;

/// Why a URL or an address is refused.
///
/// The text says what to change. Of a URL ([`Policy::judge_url`](crate::Policy::judge_url)) it follows from the URL and
/// the policy alone, so that it may be shown to whoever gave the URL. What was found by resolving a name must not be
/// shown: it would tell strangers which names exist inside. [`ConnectError`](crate::ConnectError) words all of that alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    #[error("a URL has at most 2048 bytes")]
    TooLong,
    #[error("the URL has a control character, a space or a backslash")]
    Characters,
    #[error("the URL must begin with https:// or http:// and a host")]
    Form,
    #[error("the URL's host is not a name or an address")]
    Host,
    #[error("the URL must not have a user name or password before its host")]
    Userinfo,
    #[error("the URL must begin with https://")]
    Scheme,
    #[error("the URL's port is not permitted")]
    Port,
    #[error("the URL's host is not a public name")]
    Name,
    #[error("the URL's host is {0}")]
    Address(Range),
    /// A service of our own. Only for addresses that nothing else speaks against.
    #[error("the URL's host is not permitted")]
    Own,
}

/// What a refused address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Range {
    Unspecified,
    Loopback,
    Private,
    /// Carrier-grade NAT.
    Shared,
    LinkLocal,
    Multicast,
    Documentation,
    Benchmarking,
    Reserved,
    /// An IPv6 address that stands for an IPv4 one: mapped, compatible, translated, NAT64, 6to4, ISATAP.
    Embedded,
    /// A cloud's metadata service, or its like: refused whatever else is permitted.
    Metadata,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "the unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::Shared => "an address of carrier-grade NAT",
            Self::LinkLocal => "a link-local address",
            Self::Multicast => "a multicast address",
            Self::Documentation => "an address for documentation",
            Self::Benchmarking => "an address for benchmarking",
            Self::Reserved => "a reserved address",
            Self::Embedded => "an IPv6 address that embeds another",
            Self::Metadata => "a metadata service",
        })
    }
}
