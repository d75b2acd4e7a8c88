//! Which issuers' tokens count.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use secrecy::SecretString;

use crate::{error::ConfigError, jwt::Issuers};

/// Everything that may be configured about credentials.
#[derive(Debug, Clone, Default)]
pub struct AuthConfig {
    pub issuers: Vec<IssuerConfig>,
}

/// Someone else who signs tokens that count here.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// Exactly the tokens' `iss`. Not `tidings`, which is this server's own.
    pub issuer: String,
    /// Exactly the tokens' `aud`, or one of its entries.
    pub audience: String,
    /// No other is looked at, whatever a token's header says.
    pub algorithms: Vec<SigningAlgorithm>,
    /// At least one, at most [`IssuerConfig::KEYS_MAX`].
    pub keys: Vec<KeyConfig>,
    /// The claim that holds the tenant's id.
    pub tenant_claim: String,
    /// The claim that holds the user's name.
    pub user_claim: String,
    /// The claim that holds the scopes, as one text or as a list. With the default, `scope`, a token
    /// that has none is read by `scp`.
    pub scope_claim: String,
    /// How far the issuer's clock may differ; at most [`IssuerConfig::LEEWAY_MAX`].
    pub leeway: Duration,
}

impl AuthConfig {
    /// Refuses what [`Authenticator::open`](crate::Authenticator::open) would refuse. It reads the files
    /// that keys are in.
    pub fn check(&self) -> Result<(), ConfigError> {
        Issuers::others(&self.issuers).map(drop)
    }
}

impl IssuerConfig {
    pub const KEYS_MAX: usize = 32;
    pub const LEEWAY_MAX: Duration = Duration::from_mins(1);

    /// With the default claims, no leeway, and no keys yet.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            algorithms: Vec::new(),
            keys: Vec::new(),
            tenant_claim: "tenant_id".into(),
            user_claim: "sub".into(),
            scope_claim: "scope".into(),
            leeway: Duration::ZERO,
        }
    }

    /// Adds a key and its algorithm.
    #[must_use]
    pub fn with_key(mut self, key: KeyConfig) -> Self {
        if !self.algorithms.contains(&key.algorithm) {
            self.algorithms.push(key.algorithm);
        }
        self.keys.push(key);
        self
    }
}

/// One of an issuer's keys. It verifies one algorithm only.
#[derive(Debug, Clone)]
pub struct KeyConfig {
    pub algorithm: SigningAlgorithm,
    /// Where tokens name their key. A key without an id is tried for every token of its algorithm.
    pub kid: Option<String>,
    pub material: KeyMaterial,
}

/// What a key is made of, in place or in a file.
#[derive(Debug, Clone)]
pub enum KeyMaterial {
    /// For HS256; at least 32 bytes.
    Secret(SecretString),
    /// The file's text without white space at its ends.
    SecretFile(PathBuf),
    /// A public key in PEM.
    PublicKey(String),
    PublicKeyFile(PathBuf),
}

/// The algorithms that tokens may be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SigningAlgorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl SigningAlgorithm {
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// As it is written in a token's header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("an algorithm is HS256, RS256, ES256 or EdDSA")]
pub struct SigningAlgorithmError;

impl FromStr for SigningAlgorithm {
    type Err = SigningAlgorithmError;

    /// Case counts.
    fn from_str(text: &str) -> Result<Self, SigningAlgorithmError> {
        Self::ALL.into_iter().find(|a| a.as_str() == text).ok_or(SigningAlgorithmError)
    }
}
