use std::path::PathBuf;

use tidings_core::{GrantError, Scope};
use tidings_store::{ClusterError, CommandError, ReadError};

use crate::UnsealError;

/// Why a credential made no principal. What it prints is the same for every invalid credential: the
/// cause is for the audit record alone and never part of an answer.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// 401, one body for every cause.
    #[error("the credential is missing, malformed, expired or not known here")]
    Invalid { cause: Cause },
    /// 503: nothing is said about the credential.
    #[error("credentials cannot be checked at the moment")]
    Unavailable(#[source] Outage),
}

impl From<Cause> for AuthError {
    fn from(cause: Cause) -> Self {
        Self::Invalid { cause }
    }
}

/// What an audit record says of a refused credential. It quotes nothing of the credential.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq, Hash)]
pub enum Cause {
    #[error("it is longer than any credential")]
    TooLong,
    #[error("it has the form of no credential")]
    Form,
    #[error("a part is not unpadded, canonical base64url")]
    Encoding,
    #[error("a part is not a JSON object")]
    Json,
    #[error("a JSON object names a member twice")]
    DuplicateMember,
    #[error("the header carries a member that is never accepted")]
    HeaderMember,
    #[error("the header's type is not that of an access token")]
    HeaderType,
    #[error("the algorithm is not one of the issuer's")]
    Algorithm,
    #[error("the key id names none of the issuer's keys")]
    KeyId,
    #[error("the signature does not match")]
    Signature,
    #[error("the issuer is missing or not known")]
    Issuer,
    #[error("the audience is missing or another")]
    Audience,
    #[error("the expiry is missing or no whole number of seconds")]
    Expiry,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("it is not an access token")]
    Purpose,
    #[error("the tenant is missing or no tenant id")]
    Tenant,
    #[error("the user is missing or no user name")]
    User,
    #[error("the scopes are neither a text nor a list of texts")]
    Scopes,
    #[error("the subjects are not a list of patterns")]
    Subjects,
    #[error("the token id is no short text")]
    TokenId,
    #[error("there is no such key")]
    UnknownKey,
    #[error("the key's secret does not match")]
    WrongSecret,
    #[error("it was revoked")]
    Revoked,
    #[error("the ticket was used before")]
    TicketUsed,
    #[error("the ticket is bound to another origin")]
    TicketOrigin,
    #[error("the ticket's tenant does not exist or is suspended")]
    TicketTenant,
}

/// Why nothing can be said of a credential.
#[derive(Debug, thiserror::Error)]
pub enum Outage {
    #[error("reading a credential's record")]
    Read(#[from] ReadError),
    #[error("redeeming a ticket")]
    Redeem(#[source] CommandError),
    #[error("revocations have not been read for longer than verdicts may be trusted")]
    Stale,
}

/// Why a ticket was not minted.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum MintError {
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error("your credential reaches several tenants: name the one that the ticket is for")]
    TenantNeeded,
    #[error("a ticket opens a stream, where the scope {0} is of no use")]
    NotForStreams(Scope),
    #[error("the ticket would carry no scope to read anything with")]
    NothingToRead,
    #[error(
        "an origin is written as browsers send it, such as https://app.example.com or http://localhost:3000"
    )]
    Origin,
    #[error("the ticket would be longer than {max} bytes: name fewer subjects")]
    TooLong { max: usize },
}

/// What keeps an issuer's configuration from being used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("issuer {issuer:?}: {problem}")]
    Issuer { issuer: String, problem: &'static str },
    #[error("issuer {issuer:?}, key {}: {problem}", index + 1)]
    Key { issuer: String, index: usize, problem: &'static str },
    #[error("issuer {issuer:?}, key {}: reading {path}", index + 1)]
    File { issuer: String, index: usize, path: PathBuf, source: std::io::Error },
}

/// What keeps the server's own keys from being used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("the key file {path}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "the key file {path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`, and replace it if others may have read it"
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error(
        "the key file {path} does not hold {what}; it is never overwritten: move it away to have a new one made"
    )]
    Malformed { path: PathBuf, what: &'static str },
    #[error("the key {name:?} that is shared in the database")]
    Sealed { name: &'static str, source: UnsealError },
    #[error("the key {name:?} that is shared in the database does not read back")]
    SharedMalformed { name: &'static str },
    #[error("the key {name:?} in the database is being changed by others again and again: try again")]
    Contended { name: &'static str },
    #[error("reading the keys that are shared in the database")]
    Shared(#[from] ClusterError),
    #[error("looking for an administrator key in the store")]
    Read(#[from] ReadError),
    #[error("storing the administrator key")]
    Store(#[source] CommandError),
}
