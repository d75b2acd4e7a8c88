use serde_json::{Map, Value};

use crate::{config::SigningAlgorithm, error::Cause};

/// Bytes of a key id.
const KID_MAX: usize = 255;

/// Members that choose a key, change what is signed or announce another format. A token that carries
/// one is refused, whatever its value: an issuer of ours has no use for them, an attacker has.
const NEVER: [&str; 12] =
    ["crit", "b64", "jwk", "jku", "x5u", "x5c", "enc", "zip", "epk", "apu", "apv", "cty"];

/// Types of access tokens (RFC 9068, and the name that most issuers write), without `application/`.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// What counts of a token's header.
pub(super) struct Header<'a> {
    pub(super) algorithm: SigningAlgorithm,
    pub(super) kid: Option<&'a str>,
}

impl<'a> Header<'a> {
    pub(super) fn read(header: &'a Map<String, Value>) -> Result<Self, Cause> {
        if NEVER.iter().any(|name| header.contains_key(*name)) {
            return Err(Cause::HeaderMember);
        }
        check_type(header.get("typ"))?;
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(Cause::Algorithm)?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if (1..=KID_MAX).contains(&kid.len()) => Some(kid.as_str()),
            Some(_) => return Err(Cause::KeyId),
        };
        Ok(Self { algorithm: algorithm.parse().map_err(|_| Cause::Algorithm)?, kid })
    }
}

/// A token made for another purpose (a logout token, an introspection answer) says so in its type.
fn check_type(typ: Option<&Value>) -> Result<(), Cause> {
    let Some(typ) = typ else { return Ok(()) };
    let typ = typ.as_str().ok_or(Cause::HeaderType)?.to_ascii_lowercase();
    let typ = typ.strip_prefix("application/").unwrap_or(&typ);
    if TYPES.contains(&typ) { Ok(()) } else { Err(Cause::HeaderType) }
}
