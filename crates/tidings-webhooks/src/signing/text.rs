//! Keys as text.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{V1_PREFIX, V1A_PREFIX};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    #[error("a signing key begins with whsec_ or whsk_")]
    Prefix,
    #[error("a signing key is base64 behind its prefix")]
    Base64,
    #[error("a whsec_ secret has 24 to 64 bytes")]
    SecretLength,
    #[error("a whsk_ key is an Ed25519 seed of 32 bytes, or a seed and its public key")]
    KeyPair,
}

pub(super) fn v1(secret: &[u8]) -> Zeroizing<String> {
    encoded(V1_PREFIX, secret)
}

/// Seed and public key, as other implementations write it.
pub(super) fn v1a(seed: &[u8; 32], public: &[u8]) -> Zeroizing<String> {
    encoded(V1A_PREFIX, &Zeroizing::new([seed, public].concat()))
}

pub(super) fn read_v1(text: &str) -> Result<Zeroizing<Vec<u8>>, SigningKeyError> {
    let secret = decoded(text)?;
    if (24..=64).contains(&secret.len()) { Ok(secret) } else { Err(SigningKeyError::SecretLength) }
}

pub(super) fn read_v1a(text: &str) -> Result<Ed25519KeyPair, SigningKeyError> {
    let pair = decoded(text)?;
    let read = match pair.len() {
        32 => Ed25519KeyPair::from_seed_unchecked(&pair),
        64 => Ed25519KeyPair::from_seed_and_public_key(&pair[..32], &pair[32..]),
        _ => return Err(SigningKeyError::KeyPair),
    };
    read.map_err(|_| SigningKeyError::KeyPair)
}

/// In room enough from the start, so that no copy stays behind.
fn encoded(prefix: &str, bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + bytes.len().div_ceil(3) * 4));
    text.push_str(prefix);
    STANDARD.encode_string(bytes, &mut text);
    text
}

fn decoded(text: &str) -> Result<Zeroizing<Vec<u8>>, SigningKeyError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    STANDARD.decode_vec(text, &mut bytes).map_err(|_| SigningKeyError::Base64)?;
    Ok(bytes)
}
