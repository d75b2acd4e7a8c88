//! API keys: `tdk_<key id, 32 hex>_<43 base64url>`. The store holds a digest of the whole text.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tidings_core::{CredentialId, Entropy, Grant, KeyId, Principal, Timestamp};
use tidings_store::{KeyRecord, NewKey};
use zeroize::Zeroizing;

use crate::error::Cause;

/// What every API key starts with.
pub(crate) const PREFIX: &str = "tdk_";

const ID_LEN: usize = 32;
const SECRET_LEN: usize = 43;

/// What a new key shall be.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    pub name: String,
    pub grant: Grant,
    pub expires_at: Option<Timestamp>,
}

/// A new key: what is stored of it, and its text, which is shown once.
pub(crate) fn generate(request: KeyRequest, now: Timestamp, entropy: &dyn Entropy) -> (NewKey, SecretString) {
    let id = KeyId::generate(now, entropy);
    let mut secret = Zeroizing::new([0_u8; 32]);
    entropy.fill(secret.as_mut_slice());
    let mut text = String::with_capacity(PREFIX.len() + ID_LEN + 1 + SECRET_LEN);
    text.push_str(PREFIX);
    for byte in id.as_bytes() {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    text.push('_');
    URL_SAFE_NO_PAD.encode_string(secret.as_slice(), &mut text);
    let text = SecretString::from(text);
    let KeyRequest { name, grant, expires_at } = request;
    (NewKey { id, name, hash: digest(text.expose_secret()), grant, expires_at }, text)
}

/// The public part of a key's text. One spelling only: lower-case hexadecimal and canonical base64url.
pub(crate) fn parse_id(text: &str) -> Result<KeyId, Cause> {
    let rest = text.strip_prefix(PREFIX).ok_or(Cause::Form)?;
    let (id, secret) = rest.split_once('_').ok_or(Cause::Form)?;
    if id.len() != ID_LEN || secret.len() != SECRET_LEN || URL_SAFE_NO_PAD.decode(secret).is_err() {
        return Err(Cause::Form);
    }
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(id.as_bytes().chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Ok(KeyId::from_bytes(bytes))
}

const fn hex_digit(c: u8) -> Result<u8, Cause> {
    match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(Cause::Form),
    }
}

pub(crate) fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Judges a key's digest by its record. A missing record costs the same comparison as a wrong secret.
pub(crate) fn judge(
    record: Option<KeyRecord>,
    digest: &[u8; 32],
    now: Timestamp,
) -> Result<Principal, Cause> {
    const NOBODY: [u8; 32] = [0; 32];
    let expected = record.as_ref().map_or(&NOBODY, |r| &r.hash);
    let matches = bool::from(expected.ct_eq(digest));
    let record = record.ok_or(Cause::UnknownKey)?;
    if !matches {
        return Err(Cause::WrongSecret);
    }
    live(&record, now)?;
    Ok(Principal {
        grant: record.grant,
        expires_at: record.expires_at,
        credential: CredentialId::Key(record.id),
    })
}

/// Whether a key still counts.
pub(crate) fn live(record: &KeyRecord, now: Timestamp) -> Result<(), Cause> {
    if record.revoked_at.is_some() {
        return Err(Cause::Revoked);
    }
    if record.expires_at.is_some_and(|at| at <= now) {
        return Err(Cause::Expired);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::{ScopeSet, SystemEntropy, Tenants};

    fn key() -> (NewKey, SecretString) {
        let grant = Grant { tenants: Tenants::All, user: None, scopes: ScopeSet::EMPTY, subjects: None };
        let request = KeyRequest { name: "k".into(), grant, expires_at: None };
        generate(request, Timestamp::from_secs(1_790_000_000), &SystemEntropy)
    }

    #[test]
    fn a_key_names_its_id_and_its_debug_form_no_secret() {
        let (new, text) = key();
        let shown = text.expose_secret();
        assert_eq!(parse_id(shown), Ok(new.id));
        assert_eq!(digest(shown), new.hash);
        assert_eq!(shown.len(), 4 + 32 + 1 + 43);
        assert!(!format!("{text:?}").contains("tdk_"));
    }

    #[test]
    fn one_spelling_only() {
        let (_, text) = key();
        let good = text.expose_secret().to_owned();
        let upper = format!("tdk_{}{}", good[4..36].to_uppercase(), &good[36..]);
        for bad in [
            upper.replace("TDK", "tdk"),
            good.replace("tdk_", "TDK_"),
            format!("{good}="),
            format!("{good} "),
            good[..good.len() - 1].to_owned(),
            good.replacen('_', "", 1),
            "tdk_".into(),
            "tdk__".into(),
            format!("tdk_{}_{}", "0".repeat(32), "é".repeat(43)),
            // Trailing bits: the same 32 bytes in another spelling.
            format!("{}B", &format!("tdk_{}_{}", "0".repeat(32), "A".repeat(43))[..79]),
        ] {
            // A hexadecimal id without letters reads the same in upper case.
            if bad != good {
                assert_eq!(parse_id(&bad), Err(Cause::Form), "{bad}");
            }
        }
    }
}
