use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};

use crate::{Dns, Policy, Refusal, Resolve, ResolveError, Target};

mod addresses;
mod dial;
mod proxy;
mod service;
mod stream;
mod tls;

pub use proxy::EgressProxy;
pub use stream::Stream;

/// What a [`Connector`] needs.
pub struct ConnectorConfig {
    pub policy: Policy,
    pub resolver: Arc<dyn Resolve>,
    /// Authorities besides the platform's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Whether to offer HTTP/2 when TLS is negotiated.
    pub http2: bool,
    /// Everything leaves through it. What it means for the guard: [`EgressProxy`].
    pub proxy: Option<EgressProxy>,
    /// For [`Connector`] as a `tower` service, which is given none.
    pub timeout: Duration,
}

impl ConnectorConfig {
    /// With the system's name servers and the platform's authorities, HTTP/2, no proxy, ten seconds.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            resolver: Arc::new(Dns::system()),
            extra_roots: Vec::new(),
            http2: true,
            proxy: None,
            timeout: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for ConnectorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorConfig")
            .field("policy", &self.policy)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

/// Connects to what the policy permits, and to nothing else. Cheap to clone; clones share the policy.
///
/// Also a `tower` service of [`http::Uri`], for the client of `hyper-util`.
#[derive(Clone)]
pub struct Connector(Arc<Shared>);

struct Shared {
    policy: RwLock<Arc<Policy>>,
    resolver: Arc<dyn Resolve>,
    tls: tokio_rustls::TlsConnector,
    roots: usize,
    proxy: Option<EgressProxy>,
    timeout: Duration,
}

/// Why there is no connection.
///
/// Its text has no address, and says the same of a name that is refused and of one that does not exist: it may be shown
/// to whoever gave the URL. The variants are for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    #[error("the host has no address that may be called")]
    Refused(Refusal),
    #[error("the host has no address that may be called")]
    Unresolved(ResolveError),
    #[error("the connection was not established in time")]
    TimedOut,
    #[error("the connection was not established")]
    Unreachable(#[source] io::Error),
    #[error("TLS was not established")]
    Tls(#[source] io::Error),
    /// The egress proxy made no tunnel, for whatever reason: it knows the inside, and says nothing of it.
    #[error("the proxy did not connect to the host")]
    Proxy(#[source] io::Error),
}

/// Why a URL is not accepted. Its text may be shown to whoever gave the URL.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It follows from the URL and the policy alone.
    #[error(transparent)]
    Url(#[from] Refusal),
    /// The name does not resolve, or not to what may be called: worded alike.
    #[error(transparent)]
    Host(ConnectError),
}

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("an extra certificate authority is not a certificate")]
    Root(#[source] rustls::Error),
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

impl Connector {
    /// Reads the platform's certificate authorities; see [`Connector::roots`] for none.
    pub fn new(config: ConnectorConfig) -> Result<Self, SetupError> {
        let ConnectorConfig { policy, resolver, extra_roots, http2, proxy, timeout } = config;
        let roots = tls::roots(extra_roots)?;
        let found = roots.len();
        let tls = tls::connector(roots, http2)?;
        let policy = RwLock::new(Arc::new(policy));
        Ok(Self(Arc::new(Shared { policy, resolver, tls, roots: found, proxy, timeout })))
    }

    /// How many certificate authorities are known. With none, as in a bare container, no https host can be verified.
    pub fn roots(&self) -> usize {
        self.0.roots
    }

    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0.policy.read())
    }

    /// For everything that is judged from now on; ask [`Connector::permits`] about connections that are open.
    pub fn set_policy(&self, policy: Policy) {
        *self.0.policy.write() = Arc::new(policy);
    }

    /// Whether an open connection of `target` to `peer` would still be made. Behind a proxy the peer is the proxy, and the
    /// URL alone is judged.
    pub fn permits(&self, target: &Target, peer: SocketAddr) -> bool {
        let policy = self.policy();
        match &self.0.proxy {
            Some(_) => proxy::judge(&policy, target).is_ok(),
            None => policy.judge(target, peer.ip()).is_ok(),
        }
    }

    /// Judges a URL and, unless a proxy is to do so, resolves it and judges its addresses, without connecting: for the
    /// moment at which somebody gives it. It is judged again at each connection.
    pub async fn check(&self, url: &str) -> Result<Target, CheckError> {
        let policy = self.policy();
        let target = policy.judge_url(url)?;
        let checked = match &self.0.proxy {
            Some(_) => proxy::judge(&policy, &target).map_err(ConnectError::Refused),
            None => self.addresses(&target, Instant::now() + self.0.timeout).await.map(drop),
        };
        match (checked, target.owes()) {
            (Ok(()), _) => Ok(target),
            (Err(_), Some(debt)) => Err(CheckError::Url(debt)),
            (Err(error), None) => Err(CheckError::Host(error)),
        }
    }

    /// Connects, with TLS where the URL says so. `within` is for all of it.
    pub async fn connect(&self, target: &Target, within: Duration) -> Result<Stream, ConnectError> {
        let deadline = Instant::now() + within;
        let policy = self.policy();
        let tcp = match &self.0.proxy {
            Some(proxy) => proxy.tunnel(&policy, target, deadline).await?,
            None => dial::first(self.addresses(target, deadline).await?, deadline).await?,
        };
        let peer = tcp.peer_addr().map_err(ConnectError::Unreachable)?;
        if !self.permits(target, peer) {
            return Err(ConnectError::Refused(Refusal::Host));
        }
        if target.is_https() {
            tls::secure(&self.0.tls, target, tcp, deadline).await
        } else {
            Ok(Stream::plain(tcp, peer))
        }
    }

    /// The addresses to dial: all of them are permitted.
    async fn addresses(&self, target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, ConnectError> {
        let policy = self.policy();
        let resolving = addresses::judged(&policy, &*self.0.resolver, target);
        let late = |_| Err(ConnectError::Unresolved(ResolveError::TimedOut));
        timeout_at(deadline, resolving).await.unwrap_or_else(late)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("policy", &self.policy())
            .field("proxy", &self.0.proxy)
            .finish_non_exhaustive()
    }
}
