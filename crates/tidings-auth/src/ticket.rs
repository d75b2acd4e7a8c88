//! Single-use tickets: what opens a stream from a browser, which can set no header.
//!
//! A ticket is `tdt_<payload>.<mac>`: a signed JSON payload, so that minting writes nothing; redeeming
//! takes its id in the store, so that it counts once.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tidings_core::{
    CredentialId, Entropy, Grant, KeyId, Pattern, Principal, Scope, ScopeSet, TenantId, Tenants, Timestamp,
    UserId,
};

use crate::{
    error::{Cause, MintError},
    jwt::base64url,
};

/// What every ticket starts with.
pub(crate) const PREFIX: &str = "tdt_";

/// How long a ticket waits to be used.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);

/// Bytes of a ticket: it travels in a query, and proxies take 8 KiB of one.
pub(crate) const TICKET_MAX: usize = 4_096;

const ORIGIN_MAX: usize = 300;

/// Sets the MAC apart from any other that might be made with the same key.
const DOMAIN: &[u8] = b"tidings ticket 1\0";

/// What a stream has use for.
const STREAM_SCOPES: [Scope; 4] =
    [Scope::JobsReadOwn, Scope::JobsReadAll, Scope::EventsRead, Scope::EventsDetail];

/// What is asked of a ticket; what is left out is the minter's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TicketRequest {
    /// Whom it stands for. Named without scopes, it narrows `jobs:read:all` to `jobs:read:own`.
    pub user: Option<UserId>,
    pub scopes: Option<ScopeSet>,
    pub subjects: Option<Arc<[Pattern]>>,
    /// Needed where the minter reaches several.
    pub tenant: Option<TenantId>,
    /// The page's origin: then the ticket counts with exactly this `Origin` and with no other.
    pub origin: Option<String>,
}

/// A minted ticket.
#[derive(Clone, Serialize)]
pub struct Ticket {
    pub ticket: String,
    /// When it must have been used; the stream that it opens lasts as long as its minter's credential.
    pub expires_at: Timestamp,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What a ticket says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payload {
    pub(crate) id: [u8; 16],
    pub(crate) grant: Grant,
    parent: Parent,
    /// Microseconds since 1970: when it must have been used.
    use_by: i64,
    /// … and when the connection ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

/// The credential that minted it: revoking that one ends what the ticket opened.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Parent {
    Key(KeyId),
    Token { issuer: Arc<str>, id: Arc<str> },
}

pub(crate) fn mint(
    minter: &Principal,
    request: TicketRequest,
    key: &[u8; 32],
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Ticket, MintError> {
    let origin = request.origin.clone().map(check_origin).transpose()?;
    let grant = grant(minter, request)?;
    minter.may_grant(&grant)?;
    let mut id = [0; 16];
    entropy.fill(&mut id);
    let use_by = now + LIFETIME;
    let use_by = minter.expires_at.map_or(use_by, |ends| use_by.min(ends));
    let payload = Payload {
        id,
        grant,
        parent: Parent::of(&minter.credential),
        use_by: use_by.as_micros(),
        ends: minter.expires_at.map(Timestamp::as_micros),
        origin,
    };
    let payload = serde_json::to_vec(&payload).expect("a payload has string keys and no failing serializer");
    let mut text = String::from(PREFIX);
    URL_SAFE_NO_PAD.encode_string(&payload, &mut text);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(mac(key, &payload).finalize().into_bytes(), &mut text);
    if text.len() > TICKET_MAX {
        return Err(MintError::TooLong { max: TICKET_MAX });
    }
    Ok(Ticket { ticket: text, expires_at: use_by })
}

/// Checks everything about a ticket but whether it was used before.
pub(crate) fn open(
    text: &str,
    origin: Option<&str>,
    key: &[u8; 32],
    now: Timestamp,
) -> Result<Payload, Cause> {
    if text.len() > TICKET_MAX {
        return Err(Cause::TooLong);
    }
    let (payload, tag) = text.strip_prefix(PREFIX).and_then(|t| t.split_once('.')).ok_or(Cause::Form)?;
    let (payload, tag) = (base64url(payload)?, base64url(tag)?);
    mac(key, &payload).verify_slice(&tag).map_err(|_| Cause::Signature)?;
    let payload: Payload = serde_json::from_slice(&payload).map_err(|_| Cause::Json)?;
    if Timestamp::from_micros(payload.use_by) <= now {
        return Err(Cause::Expired);
    }
    if payload.origin.is_some() && payload.origin.as_deref() != origin {
        return Err(Cause::TicketOrigin);
    }
    Ok(payload)
}

impl Payload {
    pub(crate) fn tenant(&self) -> Result<&TenantId, Cause> {
        self.grant.tenants.single().ok_or(Cause::Tenant)
    }

    pub(crate) fn use_by(&self) -> Timestamp {
        Timestamp::from_micros(self.use_by)
    }

    pub(crate) fn credential(&self) -> CredentialId {
        match &self.parent {
            Parent::Key(id) => CredentialId::Key(*id),
            Parent::Token { issuer, id } => CredentialId::Token { issuer: issuer.clone(), id: id.clone() },
        }
    }

    pub(crate) fn into_principal(self) -> Principal {
        Principal {
            credential: self.credential(),
            expires_at: self.ends.map(Timestamp::from_micros),
            grant: self.grant,
        }
    }
}

impl Parent {
    fn of(credential: &CredentialId) -> Self {
        match credential {
            CredentialId::Key(id) => Self::Key(*id),
            CredentialId::Token { issuer, id } => Self::Token { issuer: issuer.clone(), id: id.clone() },
        }
    }
}

/// What the ticket would carry, before it is held against what the minter may give.
fn grant(minter: &Principal, request: TicketRequest) -> Result<Grant, MintError> {
    let tenant =
        request.tenant.or_else(|| minter.grant.tenants.single().cloned()).ok_or(MintError::TenantNeeded)?;
    let scopes = match request.scopes {
        Some(asked) => match asked.iter().find(|s| !STREAM_SCOPES.contains(s)) {
            Some(other) => return Err(MintError::NotForStreams(other)),
            None => asked,
        },
        None => own_scopes(minter, request.user.as_ref()),
    };
    if !STREAM_SCOPES[..3].iter().any(|s| scopes.contains(*s)) {
        return Err(MintError::NothingToRead);
    }
    Ok(Grant {
        tenants: Tenants::One(tenant),
        user: request.user.or_else(|| minter.grant.user.clone()),
        scopes,
        subjects: request.subjects.or_else(|| minter.grant.subjects.clone()),
    })
}

/// The minter's own scopes as far as a stream has use for them. A backend that asks for a ticket for
/// one of its users and says no more must not hand that user everyone's jobs.
fn own_scopes(minter: &Principal, user: Option<&UserId>) -> ScopeSet {
    let own: ScopeSet = STREAM_SCOPES.into_iter().filter(|s| minter.has(*s)).collect();
    let for_another = user.is_some() && user != minter.user();
    if for_another && own.contains(Scope::JobsReadAll) {
        own.without(Scope::JobsReadAll).with(Scope::JobsReadOwn)
    } else {
        own
    }
}

/// Takes an origin as browsers serialise it: scheme, host, and a port that is not the default one.
fn check_origin(origin: String) -> Result<String, MintError> {
    let rest = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))
        .ok_or(MintError::Origin)?;
    let host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
    if rest.is_empty() || origin.len() > ORIGIN_MAX || !rest.chars().all(host) {
        return Err(MintError::Origin);
    }
    Ok(origin)
}

fn mac(key: &[u8; 32], payload: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes keys of every length");
    mac.update(DOMAIN);
    mac.update(payload);
    mac
}
