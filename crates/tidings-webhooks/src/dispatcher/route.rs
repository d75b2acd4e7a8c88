//! What all attempts of one endpoint have in common, and one attempt.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE};
use tidings_core::{
    Clock, Endpoint, EndpointId, EndpointSpec, Entropy, Event, EventId, EventType, Seq, TenantId, Timestamp,
    webhook::{AttemptFailure, Delivery, Format, Secret},
};
use tidings_guard::Policy;
use tidings_live::Due;
use zeroize::Zeroizing;

use super::{DispatcherConfig, cloud_events, trace};
use crate::{
    sender::{Attempt, Destination, HeaderTemplate, Request, Sender, Stamp},
    signing::{SigningKey, sign},
};

const JSON: &str = "application/json";

/// Opens what endpoints' requests are signed with.
pub trait OpenSecrets: Send + Sync + 'static {
    /// The secret's text, `whsec_…` or `whsk_…`; `None` where it does not open, which the opener has logged.
    fn open(&self, endpoint: &Endpoint, secret: &Secret) -> Option<Zeroizing<String>>;
}

/// Where an endpoint's messages go, and how they are signed.
pub(super) struct Route {
    endpoint: EndpointId,
    tenant: TenantId,
    /// `None`: the guard permits its URL no more.
    destination: Option<Arc<Destination>>,
    template: HeaderTemplate,
    keys: Vec<(SigningKey, Option<Timestamp>)>,
    /// The endpoint's own, for a whole attempt.
    timeout: Option<Duration>,
}

/// An endpoint has no secret that opens: nothing is sent to it unsigned.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("none of the endpoint's secrets can be opened")]
pub struct Unsigned;

/// One event as an endpoint gets it.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) seq: Seq,
    pub(super) event: EventId,
    pub(super) event_type: EventType,
    pub(super) body: Bytes,
    /// What the body is.
    pub(super) format: Format,
    /// `None`: it is no more in the log, or was not looked up.
    pub(super) source: Option<Arc<Event>>,
}

impl Message {
    /// What was read for an endpoint in its format.
    pub(super) fn of_due(due: Due, format: Format) -> Self {
        let Due { event, body } = due;
        let (seq, id, event_type) = (event.seq, event.fact.id, event.fact.event_type.clone());
        Self { seq, event: id, event_type, body, format, source: Some(event) }
    }

    pub(super) fn of_event(event: Arc<Event>, spec: &EndpointSpec) -> Self {
        let (format, verbosity) = (spec.format, spec.verbosity);
        let body = match format {
            Format::Standard => event.envelope(verbosity).into(),
            Format::Cloudevents => event.cloud_event(verbosity).into(),
            Format::CloudeventsBinary => event.fact.body.at(verbosity).bytes(),
        };
        Self::of_due(Due { event, body }, format)
    }

    /// What was sent before, as it was; [`fitted`](super::resend::fitted) makes it what the endpoint wants now.
    pub(super) fn of_row(row: Delivery) -> Self {
        let Delivery { seq, event, event_type, body, format, .. } = row;
        Self { seq, event, event_type, body: body.unwrap_or_default(), format, source: None }
    }
}

impl Route {
    pub(super) fn new(
        endpoint: &Endpoint,
        policy: &Policy,
        secrets: &dyn OpenSecrets,
        config: &DispatcherConfig,
    ) -> Result<Self, Unsigned> {
        let spec = &endpoint.spec;
        let target = policy.judge_url(&spec.url).ok();
        let destination = target.and_then(|target| Destination::new(target).ok());
        let open = |secret: &Secret| {
            let text = secrets.open(endpoint, secret)?;
            Some((SigningKey::parse(&text).ok()?, secret.expires_at))
        };
        // The newest first: receivers look at the first that they know.
        let keys: Vec<_> = endpoint.secrets.iter().rev().filter_map(open).collect();
        if keys.is_empty() {
            return Err(Unsigned);
        }
        Ok(Self {
            endpoint: endpoint.id,
            tenant: endpoint.tenant.clone(),
            destination,
            template: HeaderTemplate::new(config.version, HeaderValue::from_static(JSON), &spec.headers),
            keys,
            timeout: spec.timeout,
        })
    }

    /// One attempt, which waits where as many connections are open as there may be, or as its tenant may have of its host.
    pub(super) async fn attempt(
        &self,
        sender: &Sender,
        (clock, entropy): (&dyn Clock, &dyn Entropy),
        config: &DispatcherConfig,
        message: &Message,
    ) -> Attempt {
        const PAUSE: Duration = Duration::from_millis(100);
        let Some(destination) = &self.destination else { return refused(message) };
        loop {
            let headers = self.headers(message, clock.now(), &trace::begin(entropy));
            let (body, timeouts) = (message.body.clone(), config.timeouts(self.timeout));
            match sender.send(Request { tenant: &self.tenant, destination, headers, body, timeouts }).await {
                Ok(attempt) => return attempt,
                Err(_busy) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// The name under which a receiver knows the message again, whichever attempt brings it.
    pub(super) fn message_id(&self, event: EventId) -> String {
        format!("{event}_{}", self.endpoint)
    }

    fn headers(&self, message: &Message, now: Timestamp, trace: &str) -> HeaderMap {
        let id = self.message_id(message.event);
        let keys = self.keys.iter().filter(|(_, expires_at)| expires_at.is_none_or(|end| now < end));
        let signature = sign(keys.map(|(key, _)| key), &id, now.as_secs(), &message.body);
        let stamp = Stamp { id: &id, timestamp: now.as_secs(), signature, traceparent: Some(trace) };
        let mut headers = self.template.stamp(stamp);
        match message.format {
            Format::Standard => {}
            Format::Cloudevents => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json"));
            }
            Format::CloudeventsBinary => headers.extend(self.attributes(message)),
        }
        headers
    }

    fn attributes(&self, message: &Message) -> Vec<(HeaderName, HeaderValue)> {
        match &message.source {
            Some(event) => cloud_events::headers(event.cloud_event_attributes()),
            None => cloud_events::headers(
                [
                    ("id", message.event.to_string()),
                    ("source", format!("/tenants/{}", self.tenant)),
                    ("type", message.event_type.to_string()),
                    ("sequence", message.seq.to_string()),
                    ("tenantid", self.tenant.to_string()),
                ]
                .into_iter(),
            ),
        }
    }
}

/// No packet went out.
fn refused(message: &Message) -> Attempt {
    Attempt {
        status: None,
        failure: Some(AttemptFailure::Refused),
        latency: Duration::ZERO,
        request_bytes: u32::try_from(message.body.len()).unwrap_or(u32::MAX),
        answer_bytes: 0,
        answer: Bytes::new(),
        retry_after: None,
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
