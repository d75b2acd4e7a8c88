//! Standard Webhooks 1.0: who receives can tell that it was sent from here, whole, and when.
//!
//! A signature covers `id.timestamp.body`. Of kind `v1` it is an HMAC-SHA256 under a secret that both sides have
//! (`whsec_…`); of kind `v1a` it is made with a private Ed25519 key (`whsk_…`), and whoever has the public one (`whpk_…`)
//! can verify it and forge none. While a secret is being replaced, old and new ones sign side by side.

use std::fmt;

use aws_lc_rs::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use zeroize::Zeroizing;

mod text;

pub use text::SigningKeyError;

const V1_PREFIX: &str = "whsec_";
const V1A_PREFIX: &str = "whsk_";
const PUBLIC_PREFIX: &str = "whpk_";

/// Signatures that one header carries: what rotation needs, and what a receiver may be asked to look through.
pub const SIGNATURES_MAX: usize = 8;

/// What signs. Its memory is wiped when it is dropped, and `Debug` shows nothing of it.
pub struct SigningKey(Kind);

enum Kind {
    V1(Box<hmac::Key>),
    V1a(Box<Ed25519KeyPair>),
}

/// A new key, and its text, which is to be shown once and kept sealed.
#[derive(Debug)]
pub struct NewKey {
    pub key: SigningKey,
    pub text: Zeroizing<String>,
}

impl SigningKey {
    /// A shared secret from 32 random bytes.
    pub fn new_v1(entropy: &[u8; 32]) -> NewKey {
        let text = text::v1(entropy);
        NewKey { key: Self(Kind::V1(Box::new(hmac::Key::new(hmac::HMAC_SHA256, entropy)))), text }
    }

    /// A key pair from 32 random bytes.
    pub fn new_v1a(entropy: &[u8; 32]) -> NewKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(entropy).expect("any 32 bytes are a seed");
        let text = text::v1a(entropy, pair.public_key().as_ref());
        NewKey { key: Self(Kind::V1a(Box::new(pair))), text }
    }

    /// Of `whsec_…` (24 to 64 bytes) or `whsk_…` (a seed, or a seed and its public key), in base64.
    pub fn parse(text: &str) -> Result<Self, SigningKeyError> {
        if let Some(secret) = text.strip_prefix(V1_PREFIX) {
            let secret = text::read_v1(secret)?;
            return Ok(Self(Kind::V1(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)))));
        }
        let pair = text.strip_prefix(V1A_PREFIX).ok_or(SigningKeyError::Prefix)?;
        text::read_v1a(pair).map(|pair| Self(Kind::V1a(Box::new(pair))))
    }

    /// `whpk_…`: what a receiver of `v1a` verifies with. A shared secret has none.
    pub fn public(&self) -> Option<String> {
        match &self.0 {
            Kind::V1(_) => None,
            Kind::V1a(pair) => Some(format!("{PUBLIC_PREFIX}{}", STANDARD.encode(pair.public_key()))),
        }
    }

    fn write_signature(&self, prefix: &str, body: &[u8], out: &mut String) {
        match &self.0 {
            Kind::V1(key) => {
                let mut context = hmac::Context::with_key(key);
                context.update(prefix.as_bytes());
                context.update(body);
                out.push_str("v1,");
                STANDARD.encode_string(context.sign(), out);
            }
            Kind::V1a(pair) => {
                out.push_str("v1a,");
                STANDARD.encode_string(pair.sign(&[prefix.as_bytes(), body].concat()), out);
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::V1(_) => "SigningKey(v1)",
            Kind::V1a(_) => "SigningKey(v1a)",
        })
    }
}

/// The value of `webhook-signature`: one signature for each of the first [`SIGNATURES_MAX`] keys, parted by spaces.
/// `timestamp` is in seconds of Unix time, and goes into `webhook-timestamp` as it is.
pub fn sign<'k>(
    keys: impl IntoIterator<Item = &'k SigningKey>,
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> HeaderValue {
    let prefix = format!("{id}.{timestamp}.");
    let mut signatures = String::with_capacity(48);
    for key in keys.into_iter().take(SIGNATURES_MAX) {
        if !signatures.is_empty() {
            signatures.push(' ');
        }
        key.write_signature(&prefix, body, &mut signatures);
    }
    let mut value = HeaderValue::try_from(signatures).expect("base64 is visible ASCII");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests;
