//! The keys that this server makes for itself: in its data folder, or in the database that it shares.

mod admin;
mod files;
mod format;
mod shared;
mod webhooks;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tidings_core::{Clock, Entropy, EventId, Pattern, ScopeSet, TenantId, UserId};
use tidings_store::Cluster;
use zeroize::Zeroizing;

use crate::{MasterKey, MasterKeys, SERVER_ISSUER, error::KeysError, jwt::VerificationKey};

pub use admin::{AdminKey, read_admin_key, read_shared_admin_key};
pub use shared::{Rewrapped, rewrap};
pub use webhooks::WebhookSecrets;

const SIGNING_FILE: &str = "signing.key";
const TICKET_FILE: &str = "ticket.key";
const MASTER_FILE: &str = "master.key";

/// The key that signs this server's tokens (Ed25519), the key of its tickets, what the secrets of webhooks are
/// sealed under, and where the administrator's API key is kept.
///
/// A server alone has them as files of its data folder: 0600 in a folder of 0700, whole or not at all,
/// never overwritten. Servers on one database share one set, sealed under their [`MasterKeys`]. Clones share one set.
#[derive(Clone)]
pub struct ServerKeys(Arc<Inner>);

struct Inner {
    /// Where the administrator's key is written.
    data: PathBuf,
    /// What the shared ones and, in every store, the secrets of webhooks are sealed under.
    master: MasterKeys,
    /// Whether the others are in the database too.
    shared: bool,
    signing: Ed25519KeyPair,
    kid: String,
    ticket: Zeroizing<[u8; 32]>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// What a token that this server signs shall say.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub tenant: TenantId,
    pub user: Option<UserId>,
    pub scopes: ScopeSet,
    pub subjects: Option<Arc<[Pattern]>>,
    /// From now. A token cannot be revoked, only outlived.
    pub ttl: Duration,
}

impl std::fmt::Debug for ServerKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerKeys").field("kid", &self.0.kid).finish_non_exhaustive()
    }
}

impl ServerKeys {
    /// Reads the keys from the data folder, and makes the folder and the keys that are missing. Two
    /// processes that do so at once end with the same keys.
    pub fn open_or_create(
        data: &Path,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeysError> {
        files::make_folder(data)?;
        let pem = files::read_or_create(&data.join(SIGNING_FILE), &*entropy, || {
            format::new_signing_key(&random(&*entropy))
        })?;
        let signing = format::read_signing_key(&pem).ok_or(KeysError::Malformed {
            path: data.join(SIGNING_FILE),
            what: "an Ed25519 private key in PEM",
        })?;
        let text = files::read_or_create(&data.join(TICKET_FILE), &*entropy, || {
            format::new_ticket_key(&random(&*entropy))
        })?;
        let ticket = format::read_ticket_key(&text)
            .ok_or(KeysError::Malformed { path: data.join(TICKET_FILE), what: "32 bytes in base64url" })?;
        let text = files::read_or_create(&data.join(MASTER_FILE), &*entropy, || {
            format::new_ticket_key(&random(&*entropy))
        })?;
        let master: MasterKey = text.parse().map_err(|_| KeysError::Malformed {
            path: data.join(MASTER_FILE),
            what: "32 bytes in base64url",
        })?;
        let master = MasterKeys::new(master, None);
        Ok(Self::new(data, (master, false), signing, ticket, entropy, clock))
    }

    /// Whether a server alone has made its signing key in this folder.
    pub fn are_in(data: &Path) -> bool {
        data.join(SIGNING_FILE).exists()
    }

    /// Reads the keys from the database that the servers share, and makes those that are missing; `data`
    /// is where an administrator's key that is made here is written. Any number that start at once
    /// end with the same keys.
    pub async fn open_shared(
        data: &Path,
        cluster: &dyn Cluster,
        master: MasterKeys,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeysError> {
        let place = shared::Place { cluster, master: &master, entropy: &*entropy };
        let pem =
            place.read_or_create(shared::SIGNING, || format::new_signing_key(&random(&*entropy))).await?.text;
        let signing =
            format::read_signing_key(&pem).ok_or(KeysError::SharedMalformed { name: shared::SIGNING })?;
        let text =
            place.read_or_create(shared::TICKET, || format::new_ticket_key(&random(&*entropy))).await?.text;
        let ticket =
            format::read_ticket_key(&text).ok_or(KeysError::SharedMalformed { name: shared::TICKET })?;
        Ok(Self::new(data, (master, true), signing, ticket, entropy, clock))
    }

    fn new(
        data: &Path,
        (master, shared): (MasterKeys, bool),
        signing: Ed25519KeyPair,
        ticket: Zeroizing<[u8; 32]>,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let kid = URL_SAFE_NO_PAD.encode(&Sha256::digest(signing.public_key().as_ref())[..12]);
        Self(Arc::new(Inner { data: data.to_owned(), master, shared, signing, kid, ticket, clock, entropy }))
    }

    /// Names the signing key: letters, digits, `-` and `_`. Servers that share their keys have the same.
    pub fn id(&self) -> &str {
        &self.0.kid
    }

    /// Signs a token. It counts wherever these keys do, from now on for `ttl`.
    pub fn issue(&self, request: &TokenRequest) -> String {
        let now = self.0.clock.now();
        let header = serde_json::json!({ "alg": "EdDSA", "kid": self.0.kid, "typ": "JWT" });
        let claims = IssuedClaims {
            iss: SERVER_ISSUER,
            aud: SERVER_ISSUER,
            sub: request.user.as_ref(),
            tenant_id: &request.tenant,
            scope: request.scopes.to_string(),
            subjects: request.subjects.as_deref(),
            iat: now.as_secs(),
            nbf: now.as_secs(),
            exp: (now + request.ttl).as_secs(),
            jti: EventId::generate(now, &*self.0.entropy).to_string(),
        };
        let claims =
            serde_json::to_vec(&claims).expect("the claims have string keys and no failing serializer");
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.0.signing.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        token
    }

    pub(crate) fn verification_key(&self) -> VerificationKey {
        VerificationKey::from_ed25519(self.0.signing.public_key().as_ref(), self.0.kid.clone())
    }

    pub(crate) fn ticket_key(&self) -> &[u8; 32] {
        &self.0.ticket
    }
}

#[derive(Serialize)]
struct IssuedClaims<'a> {
    iss: &'static str,
    aud: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a UserId>,
    tenant_id: &'a TenantId,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subjects: Option<&'a [Pattern]>,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
}

fn random(entropy: &dyn Entropy) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    entropy.fill(bytes.as_mut_slice());
    bytes
}
