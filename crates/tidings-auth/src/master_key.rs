//! Secrets that are kept where others may read: in a database, and in its backups.

use std::{fmt, str::FromStr};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use sha2::{Digest as _, Sha256};
use tidings_core::Entropy;
use zeroize::Zeroizing;

/// The form of what [`MasterKeys::seal`] makes: this byte, the master key's id, the nonce, the sealed
/// text with its tag. Another form gets another number.
const VERSION: u8 = 1;

const ID_LEN: usize = 8;
const HEAD_LEN: usize = 1 + ID_LEN;

/// The key that secrets are sealed under (AES-256-GCM). Its text is 32 bytes in base64, base64url or
/// hexadecimal; `openssl rand -base64 32` makes one.
#[derive(Clone)]
pub struct MasterKey {
    id: MasterKeyId,
    bytes: Zeroizing<[u8; 32]>,
}

/// Names a master key and tells nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MasterKeyId([u8; ID_LEN]);

/// The text is no master key. It is not quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 32 bytes in base64 or hexadecimal: `openssl rand -base64 32` makes one")]
pub struct MasterKeyError;

/// The master key, and during a change the one before: what either sealed is opened.
#[derive(Debug, Clone)]
pub struct MasterKeys {
    current: MasterKey,
    previous: Option<MasterKey>,
}

/// Why a sealed secret was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    #[error(
        "it is sealed under the master key {sealed} and {given} was given: give the one that it was sealed under \
         as secrets.master_key, or as secrets.master_key_previous while it is being replaced"
    )]
    OtherKey { sealed: MasterKeyId, given: MasterKeyId },
    #[error("it was changed, or sealed for another purpose")]
    Damaged,
    #[error("it has form {0}, which this release does not know")]
    Form(u8),
}

impl FromStr for MasterKey {
    type Err = MasterKeyError;

    fn from_str(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        let decoded = from_hex(text).or_else(|| from_base64(text)).ok_or(MasterKeyError)?;
        let bytes = Zeroizing::new(<[u8; 32]>::try_from(decoded.as_slice()).map_err(|_| MasterKeyError)?);
        let mut hash = Sha256::new();
        hash.update(b"tidings master key id\0");
        hash.update(bytes.as_slice());
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&hash.finalize()[..ID_LEN]);
        Ok(Self { id: MasterKeyId(id), bytes })
    }
}

impl MasterKey {
    pub const fn id(&self) -> MasterKeyId {
        self.id
    }

    fn aead(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, self.bytes.as_slice()).expect("every 32 bytes are a key");
        LessSafeKey::new(key)
    }
}

impl MasterKeys {
    pub const fn new(current: MasterKey, previous: Option<MasterKey>) -> Self {
        Self { current, previous }
    }

    /// The id of the key that seals.
    pub const fn id(&self) -> MasterKeyId {
        self.current.id
    }

    /// Seals `secret` for one purpose, such as the name of its place: opened for another it is damaged.
    pub fn seal(&self, purpose: &str, secret: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut head = [VERSION; HEAD_LEN];
        head[1..].copy_from_slice(&self.current.id.0);
        let mut text = Vec::with_capacity(secret.len() + AES_256_GCM.tag_len());
        text.extend_from_slice(secret);
        // Random nonces of 96 bits: a key may seal billions of secrets before two are likely to meet.
        self.current
            .aead()
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(&head, purpose)),
                &mut text,
            )
            .expect("a secret is far shorter than what one call may seal");
        [&head[..], &nonce, &text].concat()
    }

    /// What was sealed for that purpose under either key.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (head, rest) = sealed.split_at_checked(HEAD_LEN).ok_or(UnsealError::Damaged)?;
        if head[0] != VERSION {
            return Err(UnsealError::Form(head[0]));
        }
        let key = self.key_of(head)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(UnsealError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| UnsealError::Damaged)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = key
            .aead()
            .open_in_place(nonce, Aad::from(associated(head, purpose)), &mut text)
            .map_err(|_| UnsealError::Damaged)?
            .len();
        text.truncate(length);
        Ok(text)
    }

    /// Whether the present key sealed it.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.get(1..HEAD_LEN) == Some(&self.current.id.0) && sealed[0] == VERSION
    }

    fn key_of(&self, head: &[u8]) -> Result<&MasterKey, UnsealError> {
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&head[1..HEAD_LEN]);
        let sealed = MasterKeyId(id);
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        keys.find(|key| key.id == sealed).ok_or(UnsealError::OtherKey { sealed, given: self.current.id })
    }
}

/// What is not secret and must not be changed: the form, the key's id, the purpose.
fn associated(head: &[u8], purpose: &str) -> Vec<u8> {
    [b"tidings sealed\0", head, purpose.as_bytes()].concat()
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if text.len() != 64 {
        return None;
    }
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = Zeroizing::new(digits?);
    Some(Zeroizing::new(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
}

/// Either alphabet, padded or not.
fn from_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [alphabet::STANDARD, alphabet::URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
        .map(Zeroizing::new)
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Display for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MasterKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
