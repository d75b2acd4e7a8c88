use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tidings_core::{
    Endpoint, EndpointId, EndpointSpec, EventId, EventType, Grant, ReplayId, SecretId, Seq, TenantId,
    Timestamp,
    webhook::{
        AttemptFailure, Delivery, DeliveryState, DisabledReason, EndpointState, Format, Replay, Secret,
        SecretKind, StateName,
    },
};

use super::Seals;

/// Why a line became no endpoint.
#[derive(Debug)]
pub(super) enum EndpointError {
    Malformed(String),
    /// Its secret cannot be sealed for where it goes.
    Seal(String),
}

impl<T: Into<String>> From<T> for EndpointError {
    fn from(why: T) -> Self {
        Self::Malformed(why.into())
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointLine {
    id: EndpointId,
    spec: EndpointSpec,
    grant: Grant,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    cursor: Seq,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_until: Option<Timestamp>,
    secrets: Vec<SecretLine>,
    created_at: Timestamp,
    replays: Vec<ReplayLine>,
}

/// With the secret open: an archive is as secret as the store, and the store that it goes to has another key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretLine {
    id: SecretId,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public: Option<String>,
    secret: String,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplayLine {
    id: ReplayId,
    from: Seq,
    to: Seq,
    position: Seq,
    created_at: Timestamp,
}

/// Of the endpoint before it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliveryLine {
    pub(super) endpoint: EndpointId,
    seq: Seq,
    event: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    attempts: u32,
    at: Timestamp,
    /// Only a dead one has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Of the body. An archive that says none is of a release that did not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
}

impl EndpointLine {
    pub(super) fn new(endpoint: &Endpoint, replays: &[Replay], seals: &dyn Seals) -> Result<Self, String> {
        let secrets = endpoint.secrets.iter().map(|secret| SecretLine::new(endpoint, secret, seals));
        Ok(Self {
            id: endpoint.id,
            spec: endpoint.spec.clone(),
            grant: endpoint.grant.clone(),
            state: endpoint.state.name().as_str().to_owned(),
            since: endpoint.state.since(),
            reason: endpoint.state.reason().map(|reason| reason.as_str().to_owned()),
            cursor: endpoint.cursor,
            generation: endpoint.generation,
            failing_since: endpoint.failing_since,
            quiet_until: endpoint.quiet_until,
            secrets: secrets.collect::<Result<_, _>>()?,
            created_at: endpoint.created_at,
            replays: replays.iter().map(ReplayLine::from).collect(),
        })
    }

    pub(super) fn into_endpoint(
        self,
        tenant: &TenantId,
        seals: &dyn Seals,
    ) -> Result<(Endpoint, Vec<Replay>), EndpointError> {
        let name: StateName = self.state.parse().map_err(|e| format!("{e}"))?;
        let reason: Option<DisabledReason> =
            self.reason.map(|reason| reason.parse().map_err(|e| format!("{e}"))).transpose()?;
        let state = EndpointState::from_parts(name, self.since, reason)
            .ok_or("an endpoint's state does not fit its times")?;
        let id = self.id;
        let secrets = self.secrets.into_iter().map(|line| line.into_secret(tenant, id, seals));
        let endpoint = Endpoint {
            id,
            tenant: tenant.clone(),
            spec: self.spec,
            grant: self.grant,
            state,
            cursor: self.cursor,
            generation: self.generation,
            failing_since: self.failing_since,
            quiet_until: self.quiet_until,
            secrets: secrets.collect::<Result<_, _>>()?,
            created_at: self.created_at,
            change: 0,
        };
        Ok((endpoint, self.replays.into_iter().map(Replay::from).collect()))
    }
}

impl SecretLine {
    fn new(endpoint: &Endpoint, secret: &Secret, seals: &dyn Seals) -> Result<Self, String> {
        let opened = seals.open((&endpoint.tenant, endpoint.id, secret.id), &secret.sealed)?;
        let text = String::from_utf8(opened).map_err(|_| "a webhook secret is no text".to_owned())?;
        Ok(Self {
            id: secret.id,
            kind: secret.kind.as_str().to_owned(),
            public: secret.kind.public().map(ToOwned::to_owned),
            secret: text,
            created_at: secret.created_at,
            expires_at: secret.expires_at,
        })
    }

    fn into_secret(
        self,
        tenant: &TenantId,
        endpoint: EndpointId,
        seals: &dyn Seals,
    ) -> Result<Secret, EndpointError> {
        let kind = SecretKind::from_parts(&self.kind, self.public)
            .ok_or("a secret is v1, or v1a with its public key")?;
        let sealed = seals.seal((tenant, endpoint, self.id), self.secret.as_bytes());
        Ok(Secret {
            id: self.id,
            kind,
            sealed: sealed.map_err(EndpointError::Seal)?.into(),
            created_at: self.created_at,
            expires_at: self.expires_at,
        })
    }
}

impl From<&Replay> for ReplayLine {
    fn from(replay: &Replay) -> Self {
        let Replay { id, from, to, position, created_at } = *replay;
        Self { id, from, to, position, created_at }
    }
}

impl From<ReplayLine> for Replay {
    fn from(line: ReplayLine) -> Self {
        let ReplayLine { id, from, to, position, created_at } = line;
        Self { id, from, to, position, created_at }
    }
}

impl DeliveryLine {
    pub(super) fn new(endpoint: EndpointId, delivery: &Delivery) -> Self {
        let (at, failure) = match delivery.state {
            DeliveryState::Retrying { next_at, .. } => (next_at, None),
            DeliveryState::Dead { at, failure, .. } => (at, Some(failure.as_str().to_owned())),
        };
        Self {
            endpoint,
            seq: delivery.seq,
            event: delivery.event,
            event_type: delivery.event_type.clone(),
            attempts: delivery.state.attempts(),
            at,
            failure,
            body: delivery.body.as_ref().map(|body| STANDARD.encode(body)),
            format: delivery.body.is_some().then_some(delivery.format),
        }
    }

    pub(super) fn into_delivery(self) -> Result<Delivery, String> {
        let (attempts, at) = (self.attempts, self.at);
        let failure: Option<AttemptFailure> =
            self.failure.map(|failure| failure.parse().map_err(|e| format!("{e}"))).transpose()?;
        let state = match failure {
            None => DeliveryState::Retrying { attempts, next_at: at },
            Some(failure) => DeliveryState::Dead { attempts, at, failure },
        };
        let body = self.body.map(|body| STANDARD.decode(body)).transpose();
        let body = body.map_err(|_| "a delivery's body is base64")?;
        let format = match (self.format, &body) {
            (Some(format), _) => format,
            (None, Some(body)) => format_of(body, self.seq, self.event),
            (None, None) => Format::default(),
        };
        Ok(Delivery {
            seq: self.seq,
            event: self.event,
            event_type: self.event_type,
            state,
            body: body.map(Into::into),
            format,
        })
    }
}

/// What a body is that was stored without its format: those that wrap the data begin in one way.
fn format_of(body: &[u8], seq: Seq, event: EventId) -> Format {
    let cloud_event = format!(r#"{{"specversion":"1.0","datacontenttype":"application/json","id":"{event}""#);
    if body.starts_with(format!(r#"{{"seq":{seq},"id":"{event}""#).as_bytes()) {
        Format::Standard
    } else if body.starts_with(cloud_event.as_bytes()) {
        Format::Cloudevents
    } else {
        Format::CloudeventsBinary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_an_older_archive_tells_its_format() {
        let (seq, id) = (Seq::new(7), EventId::from_bytes([7; 16]));
        let of = |body: &str| format_of(body.replace("ID", &id.to_string()).as_bytes(), seq, id);
        assert_eq!(of(r#"{"seq":7,"id":"ID","type":"a","data":{}}"#), Format::Standard);
        let cloud_event = r#"{"specversion":"1.0","datacontenttype":"application/json","id":"ID","data":{}}"#;
        assert_eq!(of(cloud_event), Format::Cloudevents);
        for data in ["", "null", r#"{"seq":70,"id":"ID"}"#, r#"{"id":"ID"}"#, r#"{"specversion":"1.0"}"#] {
            assert_eq!(of(data), Format::CloudeventsBinary, "{data}");
        }
    }
}
