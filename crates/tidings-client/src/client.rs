use std::{fmt, sync::Arc, time::Duration};

use reqwest::Url;
use tidings_core::{Clock, Entropy, SystemClock, SystemEntropy, TenantId};

use crate::{ClientError, Credential, EventStream, StreamRequest};

/// A server, and the credential to speak to it with. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) http: reqwest::Client,
    base: Url,
    pub(crate) credential: Credential,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

#[must_use]
pub struct ClientBuilder {
    url: String,
    credential: Option<Credential>,
    tenant: Option<TenantId>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Client {
    /// `url` is the server's root, such as `http://127.0.0.1:3000`; a path is kept as a prefix.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder {
            url: url.into(),
            credential: None,
            tenant: None,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// The server's root.
    pub fn base_url(&self) -> &str {
        self.shared.base.as_str()
    }

    /// The tenant that an operator's credential acts for.
    pub fn tenant(&self) -> Option<&TenantId> {
        self.shared.tenant.as_ref()
    }

    /// The same server and connections, another tenant.
    #[must_use]
    pub fn for_tenant(&self, tenant: Option<TenantId>) -> Self {
        let Shared { http, base, credential, clock, entropy, .. } = &*self.shared;
        Self {
            shared: Arc::new(Shared {
                http: http.clone(),
                base: base.clone(),
                credential: credential.clone(),
                tenant,
                clock: clock.clone(),
                entropy: entropy.clone(),
            }),
        }
    }

    /// Follows the log. Must be called on a tokio runtime: a task reads the stream until the returned
    /// value is dropped.
    pub fn stream(&self, request: &StreamRequest) -> EventStream {
        EventStream::start(self.clone(), request)
    }

    pub(crate) fn url(&self, path: &str) -> Result<Url, ClientError> {
        self.shared.base.join(path).map_err(|e| ClientError::Invalid(format!("{path} makes no URL: {e}")))
    }

    pub(crate) fn now(&self) -> tidings_core::Timestamp {
        self.shared.clock.now()
    }

    pub(crate) fn entropy(&self) -> &dyn Entropy {
        &*self.shared.entropy
    }
}

impl ClientBuilder {
    pub fn credential(mut self, credential: Credential) -> Self {
        self.credential = Some(credential);
        self
    }

    /// For an operator's credential: the tenant to act for. Others must leave it out.
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// Where time and randomness come from; the machine's by default.
    pub fn environment(mut self, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        self.clock = clock;
        self.entropy = entropy;
        self
    }

    pub fn build(self) -> Result<Client, ClientError> {
        let invalid = |why: String| ClientError::Invalid(format!("{:?} is no server's URL: {why}", self.url));
        let mut base = Url::parse(&self.url).map_err(|e| invalid(e.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(invalid("it starts with http:// or https:// and names a host".into()));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let credential =
            self.credential.ok_or_else(|| ClientError::Invalid("a client needs a credential".into()))?;
        // No ambient proxy: streams would not go through it, and the two must not differ.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .user_agent(concat!("tidings-client/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| ClientError::Invalid(format!("setting up HTTP: {e}")))?;
        let Self { tenant, clock, entropy, .. } = self;
        Ok(Client { shared: Arc::new(Shared { http, base, credential, tenant, clock, entropy }) })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.shared.base.as_str())
            .field("tenant", &self.shared.tenant)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("url", &self.url)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}
