use std::{net::IpAddr, pin::Pin, time::Duration};

/// Where a name's addresses come from. Never asked about an address that is written in a URL.
///
/// Whatever it answers is judged; an error permits nothing.
pub trait Resolve: Send + Sync + 'static {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a>;
}

pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Answer, ResolveError>> + Send + 'a>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// At least one.
    pub addresses: Vec<IpAddr>,
    /// How long it holds; zero: for this once.
    pub ttl: Duration,
}

/// Every one of them may pass: the lookup can be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("the name has no address")]
    NotFound,
    #[error("no name server gave a usable answer")]
    Failed,
    #[error("no name server answered in time")]
    TimedOut,
}
