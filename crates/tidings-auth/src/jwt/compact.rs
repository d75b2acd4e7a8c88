use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use crate::{error::Cause, json};

/// A token in its compact form, taken apart but not believed.
pub(super) struct Compact<'a> {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    /// What the signature is over.
    pub(super) message: &'a [u8],
    /// In base64url.
    pub(super) signature: &'a str,
}

impl<'a> Compact<'a> {
    /// Takes exactly three parts, each in canonical, unpadded base64url.
    pub(super) fn parse(token: &'a str) -> Result<Self, Cause> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Cause::Form);
        };
        if base64url(signature)?.is_empty() {
            return Err(Cause::Signature);
        }
        Ok(Self {
            header: json::object(&base64url(header)?)?,
            claims: json::object(&base64url(claims)?)?,
            message: &token.as_bytes()[..header.len() + 1 + claims.len()],
            signature,
        })
    }
}

/// Refuses padding, white space, other alphabets and stray trailing bits.
pub(crate) fn base64url(text: &str) -> Result<Vec<u8>, Cause> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Cause::Encoding)
}
