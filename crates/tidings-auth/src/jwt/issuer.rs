use std::{collections::HashMap, fmt::Write as _, fs, sync::Arc, time::Duration};

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use tidings_core::{CredentialId, Grant, Principal, Scope, Tenants, Timestamp};
use zeroize::Zeroizing;

use super::{claims::Claims, compact::Compact, header::Header, key::VerificationKey};
use crate::{
    SERVER_ISSUER,
    config::{IssuerConfig, KeyConfig, KeyMaterial},
    error::{Cause, ConfigError},
};

/// Everyone whose tokens count, this server included, by the exact `iss`.
#[derive(Debug)]
pub(crate) struct Issuers(HashMap<Arc<str>, Issuer>);

/// One issuer: its keys and how its claims are read.
#[derive(Debug)]
pub(crate) struct Issuer {
    name: Arc<str>,
    audience: String,
    keys: Vec<VerificationKey>,
    tenant_claim: String,
    user_claim: String,
    scope_claim: String,
    leeway: Duration,
    /// This server itself: only its tokens may carry `system:admin` or stand for no user.
    is_server: bool,
}

impl Issuers {
    /// Reads the key files that the configuration names.
    pub(crate) fn load(server: Issuer, configured: &[IssuerConfig]) -> Result<Self, ConfigError> {
        let mut issuers = Self::others(configured)?;
        issuers.0.insert(server.name.clone(), server);
        Ok(issuers)
    }

    /// All but this server.
    pub(crate) fn others(configured: &[IssuerConfig]) -> Result<Self, ConfigError> {
        let mut issuers = HashMap::new();
        for config in configured {
            let issuer = Issuer::load(config)?;
            let is_ours = config.issuer == SERVER_ISSUER;
            if is_ours || issuers.insert(issuer.name.clone(), issuer).is_some() {
                return Err(refuse(config, "it is named twice, or is this server's own name"));
            }
        }
        Ok(Self(issuers))
    }

    /// Verifies a token and reads whom it stands for.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, Cause> {
        let compact = Compact::parse(token)?;
        let header = Header::read(&compact.header)?;
        // Not believed yet: it only chooses whose keys must have signed it.
        let issuer = self.0.get(Claims(&compact.claims).issuer()?).ok_or(Cause::Issuer)?;
        issuer.check_signature(&header, &compact)?;
        issuer.principal(Claims(&compact.claims), token, now)
    }
}

impl Issuer {
    /// This server, as the issuer of the tokens that it signs itself.
    pub(crate) fn server(key: VerificationKey) -> Self {
        Self {
            name: SERVER_ISSUER.into(),
            audience: SERVER_ISSUER.into(),
            keys: vec![key],
            tenant_claim: "tenant_id".into(),
            user_claim: "sub".into(),
            scope_claim: "scope".into(),
            leeway: Duration::ZERO,
            is_server: true,
        }
    }

    fn load(config: &IssuerConfig) -> Result<Self, ConfigError> {
        if config.issuer.is_empty() || config.audience.is_empty() {
            return Err(refuse(config, "issuer and audience must not be empty"));
        }
        if config.keys.is_empty() || config.keys.len() > IssuerConfig::KEYS_MAX {
            return Err(refuse(config, "it has no key, or more than 32"));
        }
        if config.leeway > IssuerConfig::LEEWAY_MAX {
            return Err(refuse(config, "the leeway is at most 60s"));
        }
        if [&config.tenant_claim, &config.user_claim, &config.scope_claim].iter().any(|c| c.is_empty()) {
            return Err(refuse(config, "a claim's name must not be empty"));
        }
        let keys = config
            .keys
            .iter()
            .enumerate()
            .map(|(i, key)| load_key(config, i, key))
            .collect::<Result<Vec<_>, _>>()?;
        let twice = |(i, key): (usize, &VerificationKey)| {
            key.kid().is_some() && keys[..i].iter().any(|k| k.kid() == key.kid())
        };
        if let Some(index) = keys.iter().enumerate().position(twice) {
            return Err(refuse_key(config, index, "another key has the same kid"));
        }
        Ok(Self {
            name: config.issuer.as_str().into(),
            audience: config.audience.clone(),
            keys,
            tenant_claim: config.tenant_claim.clone(),
            user_claim: config.user_claim.clone(),
            scope_claim: config.scope_claim.clone(),
            leeway: config.leeway,
            is_server: false,
        })
    }

    fn check_signature(&self, header: &Header<'_>, compact: &Compact<'_>) -> Result<(), Cause> {
        let mut of_algorithm = self.keys.iter().filter(|k| k.algorithm() == header.algorithm).peekable();
        of_algorithm.peek().ok_or(Cause::Algorithm)?;
        let mut named = of_algorithm.filter(|k| k.answers_to(header.kid)).peekable();
        named.peek().ok_or(Cause::KeyId)?;
        if named.any(|k| k.verifies(compact.message, compact.signature)) {
            Ok(())
        } else {
            Err(Cause::Signature)
        }
    }

    fn principal(&self, claims: Claims<'_>, token: &str, now: Timestamp) -> Result<Principal, Cause> {
        claims.check_audience(&self.audience)?;
        let expires_at = claims.check_times(now, self.leeway)?;
        claims.check_purpose()?;
        let user = claims.user(&self.user_claim)?;
        let mut scopes = claims.scopes(&self.scope_claim)?;
        if !self.is_server {
            scopes = scopes.without(Scope::SystemAdmin);
            // Who stands for no user may name any: only a credential made here may be so.
            user.as_ref().ok_or(Cause::User)?;
        }
        let grant = Grant {
            tenants: Tenants::One(claims.tenant(&self.tenant_claim)?),
            user,
            scopes,
            subjects: claims.subjects()?,
        };
        let id = claims.id()?.map_or_else(|| fingerprint(token), Arc::from);
        let credential = CredentialId::Token { issuer: self.name.clone(), id };
        Ok(Principal { grant, expires_at: Some(expires_at), credential })
    }
}

/// Names a token that has no id of its own; it gives nothing of the token away.
fn fingerprint(token: &str) -> Arc<str> {
    let digest = Sha256::digest(token.as_bytes());
    let mut text = String::from("sha256:");
    for byte in &digest[..16] {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    text.into()
}

fn load_key(config: &IssuerConfig, index: usize, key: &KeyConfig) -> Result<VerificationKey, ConfigError> {
    if !config.algorithms.contains(&key.algorithm) {
        return Err(refuse_key(config, index, "its algorithm is not one of the issuer's"));
    }
    if key.kid.as_deref().is_some_and(str::is_empty) {
        return Err(refuse_key(config, index, "its kid is empty"));
    }
    let read = |path: &std::path::Path| {
        fs::read_to_string(path).map(Zeroizing::new).map_err(|source| ConfigError::File {
            issuer: config.issuer.clone(),
            index,
            path: path.to_owned(),
            source,
        })
    };
    let secret = |text: &str| match key.algorithm {
        crate::SigningAlgorithm::Hs256 => VerificationKey::from_secret(text.as_bytes(), key.kid.clone()),
        _ => Err("only HS256 takes a secret"),
    };
    let public = |pem: &str| VerificationKey::from_pem(key.algorithm, pem, key.kid.clone());
    let loaded = match &key.material {
        KeyMaterial::Secret(text) => secret(text.expose_secret()),
        KeyMaterial::SecretFile(path) => secret(read(path)?.trim()),
        KeyMaterial::PublicKey(pem) => public(pem),
        KeyMaterial::PublicKeyFile(path) => public(&read(path)?),
    };
    loaded.map_err(|problem| refuse_key(config, index, problem))
}

fn refuse(config: &IssuerConfig, problem: &'static str) -> ConfigError {
    ConfigError::Issuer { issuer: config.issuer.clone(), problem }
}

fn refuse_key(config: &IssuerConfig, index: usize, problem: &'static str) -> ConfigError {
    ConfigError::Key { issuer: config.issuer.clone(), index, problem }
}
