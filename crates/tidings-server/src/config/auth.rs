use std::{error::Error as _, path::PathBuf};

use serde::{Deserialize, Serialize};

use tidings_auth::{AuthConfig, IssuerConfig, KeyConfig, KeyMaterial, SecretString, SigningAlgorithm};

use super::{ConfigError, Span};

/// Who else's tokens count, besides those made here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    pub issuers: Vec<Issuer>,
}

/// An issuer of JWTs with the keys that it signs with.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The exact `iss`.
    pub issuer: String,
    /// The exact `aud` that a token must carry.
    pub audience: String,
    /// `HS256`, `RS256`, `ES256`, `EdDSA`: no other is taken from this issuer.
    pub algorithms: Vec<String>,
    pub keys: Vec<IssuerKey>,
    #[serde(default = "tenant_claim")]
    pub tenant_claim: String,
    #[serde(default = "user_claim")]
    pub user_claim: String,
    #[serde(default = "scope_claim")]
    pub scope_claim: String,
    /// How far `exp` and `nbf` may be off; at most 60 s.
    #[serde(default = "no_leeway")]
    pub leeway: Span,
}

/// One key: a shared secret or a public key, in place or in a file.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    pub algorithm: String,
    /// HS256 only; at least 32 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// A public key in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key_file: Option<PathBuf>,
}

fn tenant_claim() -> String {
    "tenant_id".into()
}

fn user_claim() -> String {
    "sub".into()
}

fn scope_claim() -> String {
    "scope".into()
}

const fn no_leeway() -> Span {
    Span::secs(0)
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer")
            .field("issuer", &self.issuer)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// Without the secret.
impl std::fmt::Debug for IssuerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuerKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Auth {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let check = self.to_auth()?.check();
        check.map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            ConfigError::invalid("auth.issuers", format!("{error}{cause}"))
        })
    }

    /// What the authenticator takes. It reads the files and looks at the rest itself.
    pub(crate) fn to_auth(&self) -> Result<AuthConfig, ConfigError> {
        let issuers = self.issuers.iter().enumerate().map(|(i, issuer)| {
            issuer.to_auth().map_err(|message| ConfigError::invalid(format!("auth.issuers[{i}]"), message))
        });
        Ok(AuthConfig { issuers: issuers.collect::<Result<_, _>>()? })
    }
}

impl Issuer {
    fn to_auth(&self) -> Result<IssuerConfig, String> {
        let keys = self.keys.iter().enumerate();
        let keys = keys.map(|(k, key)| key.to_auth().map_err(|message| format!("keys[{k}]: {message}")));
        Ok(IssuerConfig {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            algorithms: self.algorithms.iter().map(|a| algorithm(a)).collect::<Result<_, _>>()?,
            keys: keys.collect::<Result<_, _>>()?,
            tenant_claim: self.tenant_claim.clone(),
            user_claim: self.user_claim.clone(),
            scope_claim: self.scope_claim.clone(),
            leeway: self.leeway.0,
        })
    }
}

fn algorithm(text: &str) -> Result<SigningAlgorithm, String> {
    text.parse().map_err(|e| format!("{text:?}: {e}"))
}

impl IssuerKey {
    fn to_auth(&self) -> Result<KeyConfig, String> {
        let algorithm = algorithm(&self.algorithm)?;
        let material =
            match (algorithm, &self.secret, &self.secret_file, &self.public_key, &self.public_key_file) {
                (SigningAlgorithm::Hs256, Some(secret), None, None, None) => {
                    KeyMaterial::Secret(SecretString::from(secret.as_str()))
                }
                (SigningAlgorithm::Hs256, None, Some(path), None, None) => {
                    KeyMaterial::SecretFile(path.clone())
                }
                (SigningAlgorithm::Hs256, ..) => {
                    return Err("HS256 takes exactly one of secret and secret_file".into());
                }
                (_, None, None, Some(pem), None) => KeyMaterial::PublicKey(pem.clone()),
                (_, None, None, None, Some(path)) => KeyMaterial::PublicKeyFile(path.clone()),
                (other, ..) => {
                    return Err(format!("{other} takes exactly one of public_key and public_key_file"));
                }
            };
        Ok(KeyConfig { algorithm, kid: self.kid.clone(), material })
    }
}
