//! Parts of an endpoint as both stores keep them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tidings_core::{
    EndpointSpec, Grant, SecretId, Timestamp,
    webhook::{DisabledReason, EndpointState, Format, Secret, SecretKind, StateName},
};

/// The code of a tombstone, beside those of [`state_code`].
pub(crate) const DELETED: i16 = 3;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredSecret {
    id: SecretId,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public: Option<String>,
    sealed: String,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

/// What of a stored endpoint does not read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("a secret of an unknown kind")]
    Kind,
    #[error("a sealed secret that is no base64")]
    Sealed,
    #[error("no state of an endpoint")]
    State,
    #[error("no format of a body")]
    Format,
}

impl From<&Secret> for StoredSecret {
    fn from(secret: &Secret) -> Self {
        Self {
            id: secret.id,
            kind: secret.kind.as_str().to_owned(),
            public: secret.kind.public().map(ToOwned::to_owned),
            sealed: STANDARD.encode(&secret.sealed),
            created_at: secret.created_at,
            expires_at: secret.expires_at,
        }
    }
}

impl TryFrom<StoredSecret> for Secret {
    type Error = Unreadable;
    fn try_from(stored: StoredSecret) -> Result<Self, Unreadable> {
        Ok(Self {
            id: stored.id,
            kind: SecretKind::from_parts(&stored.kind, stored.public).ok_or(Unreadable::Kind)?,
            sealed: STANDARD.decode(stored.sealed).map_err(|_| Unreadable::Sealed)?.into(),
            created_at: stored.created_at,
            expires_at: stored.expires_at,
        })
    }
}

pub(crate) fn secrets_text(secrets: &[Secret]) -> String {
    let stored: Vec<StoredSecret> = secrets.iter().map(Into::into).collect();
    serde_json::to_string(&stored).expect("secrets serialise")
}

pub(crate) fn secrets_of(text: &str) -> Result<Vec<Secret>, Unreadable> {
    serde_json::from_str::<Vec<StoredSecret>>(text)?.into_iter().map(Secret::try_from).collect()
}

pub(crate) fn spec_text(spec: &EndpointSpec) -> String {
    serde_json::to_string(spec).expect("a spec serialises")
}

pub(crate) fn spec_of(text: &str) -> Result<EndpointSpec, Unreadable> {
    Ok(serde_json::from_str(text)?)
}

pub(crate) fn grant_text(grant: &Grant) -> String {
    serde_json::to_string(grant).expect("a grant serialises")
}

pub(crate) fn grant_of(text: &str) -> Result<Grant, Unreadable> {
    Ok(serde_json::from_str(text)?)
}

pub(crate) fn format_of(code: i16) -> Result<Format, Unreadable> {
    Format::from_code(code).ok_or(Unreadable::Format)
}

pub(crate) const fn state_code(state: EndpointState) -> i16 {
    match state {
        EndpointState::Active => 0,
        EndpointState::Paused { .. } => 1,
        EndpointState::Disabled { .. } => 2,
    }
}

pub(crate) fn state_of(
    code: i16,
    since: Option<Timestamp>,
    reason: Option<&str>,
) -> Result<EndpointState, Unreadable> {
    let name = match code {
        0 => StateName::Active,
        1 => StateName::Paused,
        2 => StateName::Disabled,
        _ => return Err(Unreadable::State),
    };
    let reason: Option<DisabledReason> =
        reason.map(|text| text.parse().map_err(|_| Unreadable::State)).transpose()?;
    EndpointState::from_parts(name, since, reason).ok_or(Unreadable::State)
}

/// A delivery's state as columns: whether it is dead, its attempts, the time, the failure.
pub(crate) const fn delivery_parts(
    state: tidings_core::webhook::DeliveryState,
) -> (bool, u32, Timestamp, Option<i16>) {
    use tidings_core::webhook::DeliveryState;
    match state {
        DeliveryState::Retrying { attempts, next_at } => (false, attempts, next_at, None),
        DeliveryState::Dead { attempts, at, failure } => (true, attempts, at, Some(failure.code())),
    }
}

pub(crate) fn delivery_state(
    dead: bool,
    attempts: u32,
    at: Timestamp,
    failure: Option<i16>,
) -> Result<tidings_core::webhook::DeliveryState, Unreadable> {
    use tidings_core::webhook::{AttemptFailure, DeliveryState};
    match (dead, failure.and_then(AttemptFailure::from_code)) {
        (false, _) => Ok(DeliveryState::Retrying { attempts, next_at: at }),
        (true, Some(failure)) => Ok(DeliveryState::Dead { attempts, at, failure }),
        (true, None) => Err(Unreadable::State),
    }
}
