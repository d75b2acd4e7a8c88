//! The keys that this server makes for itself, in its data folder.

mod files;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tidings_core::{Clock, Entropy, EventId, Grant, Pattern, ScopeSet, TenantId, Tenants, UserId};
use tidings_store::{Command, Journal, Store};
use zeroize::Zeroizing;

use crate::{
    SERVER_ISSUER,
    api_key::{self, KeyRequest},
    error::KeysError,
    jwt::VerificationKey,
};

const SIGNING_FILE: &str = "signing.key";
const TICKET_FILE: &str = "ticket.key";
const ADMIN_FILE: &str = "admin.key";

/// The key that signs this server's tokens (Ed25519), the key of its tickets, and the file of the
/// administrator's API key. Files are 0600 in a folder of 0700, appear whole or not at all, and are
/// never overwritten. Clones share one set.
#[derive(Clone)]
pub struct ServerKeys(Arc<Inner>);

struct Inner {
    data: PathBuf,
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

/// The administrator's API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminKey {
    /// The file that holds its text; it may have been taken away since.
    pub path: PathBuf,
    /// Whether it was made just now: the moment to tell how to use it.
    pub created: bool,
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
        let random = || {
            let mut bytes = Zeroizing::new([0_u8; 32]);
            entropy.fill(bytes.as_mut_slice());
            bytes
        };
        let pem = files::read_or_create(&data.join(SIGNING_FILE), &*entropy, || new_signing_key(&random()))?;
        let signing = read_signing_key(&pem).ok_or(KeysError::Malformed {
            path: data.join(SIGNING_FILE),
            what: "an Ed25519 private key in PEM",
        })?;
        let text = files::read_or_create(&data.join(TICKET_FILE), &*entropy, || {
            Zeroizing::new(URL_SAFE_NO_PAD.encode(random().as_slice()) + "\n")
        })?;
        let ticket = read_ticket_key(&text)
            .ok_or(KeysError::Malformed { path: data.join(TICKET_FILE), what: "32 bytes in base64url" })?;
        let kid = URL_SAFE_NO_PAD.encode(&Sha256::digest(signing.public_key().as_ref())[..12]);
        Ok(Self(Arc::new(Inner { data: data.to_owned(), signing, kid, ticket, clock, entropy })))
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

    /// Sees to it that the store has an operator's key. Where it has none, the one in `admin.key` is
    /// put there, made first if need be; where it has one, nothing changes, so that an administrator
    /// who took the file away or revoked its key does not find a new one.
    pub async fn ensure_admin_key(
        &self,
        store: &dyn Store,
        journal: &Journal,
    ) -> Result<AdminKey, KeysError> {
        let path = self.0.data.join(ADMIN_FILE);
        if !store.keys(None, None, 1).await?.is_empty() {
            return Ok(AdminKey { path, created: false });
        }
        let grant = Grant { tenants: Tenants::All, user: None, scopes: ScopeSet::all(), subjects: None };
        let request = KeyRequest { name: "administrator".into(), grant, expires_at: None };
        let (mut key, made) = api_key::generate(request, self.0.clock.now(), &*self.0.entropy);
        // The file first: a crash in between leaves a key that the next start puts into the store.
        let text = files::read_or_create(&path, &*self.0.entropy, || {
            Zeroizing::new(format!("{}\n", made.expose_secret()))
        })?;
        let text = text.trim();
        key.id = api_key::parse_id(text)
            .map_err(|_| KeysError::Malformed { path: path.clone(), what: "an API key" })?;
        key.hash = api_key::digest(text);
        let created = text == made.expose_secret();
        journal.submit(Command::PutOperatorKey(key)).await.map_err(KeysError::Store)?;
        Ok(AdminKey { path, created })
    }

    pub(crate) fn verification_key(&self) -> VerificationKey {
        VerificationKey::from_ed25519(self.0.signing.public_key().as_ref(), self.0.kid.clone())
    }

    pub(crate) fn ticket_key(&self) -> &[u8; 32] {
        &self.0.ticket
    }
}

/// The text of the administrator's key in a data folder, if its file is there: what a command on the
/// server's own machine acts with.
pub fn read_admin_key(data: &Path) -> Result<Option<SecretString>, KeysError> {
    Ok(files::read(&data.join(ADMIN_FILE))?.map(|text| SecretString::from(text.trim())))
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

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

fn new_signing_key(seed: &[u8; 32]) -> Zeroizing<String> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are a seed");
    let document = pair.to_pkcs8v1().expect("a key pair that was just made can be written");
    let body = Zeroizing::new(STANDARD.encode(document.as_ref()));
    Zeroizing::new(format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", *body))
}

fn read_signing_key(pem: &str) -> Option<Ed25519KeyPair> {
    let body = pem.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    let document = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document).ok()
}

fn read_ticket_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim()).ok()?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}
