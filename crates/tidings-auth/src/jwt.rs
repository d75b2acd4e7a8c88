//! JSON Web Tokens, read by RFC 8725: the configuration decides the algorithm and the keys, never the
//! token.
//!
//! [`compact`] takes a token apart, [`header`] refuses what no header of ours needs, [`key`] verifies
//! one algorithm each, [`claims`] reads what it says, and an [`Issuer`] puts them together.

mod claims;
mod compact;
mod header;
mod issuer;
mod key;

pub(crate) use compact::base64url;
pub(crate) use issuer::{Issuer, Issuers};
pub(crate) use key::VerificationKey;
