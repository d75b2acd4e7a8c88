//! How the keys are written: the same in a file and in a database.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

pub(super) fn new_signing_key(seed: &[u8; 32]) -> Zeroizing<String> {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are a seed");
    let document = pair.to_pkcs8v1().expect("a key pair that was just made can be written");
    let body = Zeroizing::new(STANDARD.encode(document.as_ref()));
    Zeroizing::new(format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", *body))
}

pub(super) fn read_signing_key(pem: &str) -> Option<Ed25519KeyPair> {
    let body = pem.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    let document = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document).ok()
}

pub(super) fn new_ticket_key(bytes: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes) + "\n")
}

pub(super) fn read_ticket_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.trim()).ok()?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}
