//! A sender whose guard permits the loopback interface.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tidings_core::{TenantId, webhook::Headers};
use tidings_guard::{Connector, ConnectorConfig, Dns, DnsConfig, Policy};
use tidings_webhooks::sender::{
    Attempt, Busy, Destination, HeaderTemplate, Request, Sender, SenderConfig, Stamp, Timeouts,
};

pub(crate) const BODY: &[u8] = br#"{"seq":7}"#;
/// For what is to end by itself.
pub(crate) const PATIENT: Timeouts = timeouts(20_000);
/// For what is to run out.
pub(crate) const SHORT: Timeouts = timeouts(300);

pub(crate) const fn timeouts(ms: u64) -> Timeouts {
    let each = Duration::from_millis(ms);
    Timeouts { connect: each, first_byte: each, whole: each }
}

pub(crate) struct Site {
    pub(crate) connector: Connector,
    pub(crate) sender: Sender,
}

impl Site {
    pub(crate) fn open() -> Self {
        Self::with(SenderConfig::default(), None)
    }

    pub(crate) fn with(config: SenderConfig, authority: Option<&Path>) -> Self {
        let policy = Policy::default().with_allowed("127.0.0.0/8".parse().unwrap()).unwrap();
        let mut connecting = ConnectorConfig::new(policy);
        connecting.resolver = Arc::new(Dns::new(DnsConfig::new(Vec::new())));
        connecting.extra_roots =
            authority.map(|path| CertificateDer::from_pem_file(path).unwrap()).into_iter().collect();
        let connector = Connector::new(connecting).unwrap();
        Self { sender: Sender::new(connector.clone(), config), connector }
    }

    pub(crate) fn destination(&self, url: &str) -> Arc<Destination> {
        Destination::new(self.connector.policy().judge_url(url).unwrap()).unwrap()
    }

    pub(crate) async fn try_send(
        &self,
        url: &str,
        body: &'static [u8],
        timeouts: Timeouts,
    ) -> Result<Attempt, Busy> {
        self.try_send_for("acme", url, body, timeouts).await
    }

    pub(crate) async fn try_send_for(
        &self,
        tenant: &str,
        url: &str,
        body: &'static [u8],
        timeouts: Timeouts,
    ) -> Result<Attempt, Busy> {
        let (tenant, destination) = (TenantId::new(tenant).unwrap(), self.destination(url));
        let request = Request {
            tenant: &tenant,
            destination: &destination,
            headers: headers(),
            body: Bytes::from_static(body),
            timeouts,
        };
        self.sender.send(request).await
    }

    pub(crate) async fn send(&self, url: &str, timeouts: Timeouts) -> Attempt {
        self.try_send(url, BODY, timeouts).await.unwrap()
    }
}

pub(crate) fn headers() -> HeaderMap {
    let own = Headers::new([("x-team".to_owned(), "payments".to_owned())]).unwrap();
    let stamp =
        Stamp { id: "evt_7", timestamp: 5, signature: HeaderValue::from_static("v1,x"), traceparent: None };
    HeaderTemplate::new("0.1.0", HeaderValue::from_static("application/json"), &own).stamp(stamp)
}
