//! Credential in, [`Principal`](tidings_core::Principal) out: the one place where that happens.
//!
//! - [`Authenticator`] judges API keys, tokens and tickets, remembers verdicts, and knows what was
//!   revoked. Whatever is wrong with a credential, its holder is told the same ([`AuthError`]); the
//!   [`Cause`] is for the audit record.
//! - [`ServerKeys`] are the keys that the server makes for itself in its data folder, or that servers on one
//!   database share, sealed under their [`MasterKeys`]: tokens ([`TokenRequest`]) and tickets
//!   ([`TicketRequest`]) are signed with them.
//! - [`AuthConfig`] says whose tokens count besides: issuers with static keys, each key pinned to one
//!   algorithm.
//!
//! There is no unauthenticated mode.

mod api_key;
mod authenticator;
mod cache;
mod config;
mod error;
mod json;
mod jwt;
mod master_key;
mod revocations;
mod server_keys;
mod ticket;

pub use api_key::KeyRequest;
pub use authenticator::{Authenticator, Credential, OpenError};
pub use config::{AuthConfig, IssuerConfig, KeyConfig, KeyMaterial, SigningAlgorithm, SigningAlgorithmError};
pub use error::{AuthError, Cause, ConfigError, KeysError, MintError, Outage};
pub use master_key::{MasterKey, MasterKeyError, MasterKeyId, MasterKeys, UnsealError};
pub use secrecy::{ExposeSecret, SecretString};
pub use server_keys::{
    AdminKey, Rewrapped, ServerKeys, TokenRequest, WebhookSecrets, read_admin_key, read_shared_admin_key,
    rewrap,
};
pub use ticket::{Ticket, TicketRequest};

/// The `iss` and `aud` of tokens that this server signs; no configured issuer may call itself so.
pub const SERVER_ISSUER: &str = "tidings";

/// Whether a credential was made here (an API key, or a token of this server) and not by a configured
/// issuer. A ticket counts as what minted it.
pub fn is_made_here(credential: &tidings_core::CredentialId) -> bool {
    match credential {
        tidings_core::CredentialId::Key(_) => true,
        tidings_core::CredentialId::Token { issuer, .. } => **issuer == *SERVER_ISSUER,
    }
}
