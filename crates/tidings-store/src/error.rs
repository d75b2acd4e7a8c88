use tidings_core::{job::Refused, webhook::EndpointRefused};

/// Why one command was not done. Nothing of it was.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CommandError {
    /// No such job, schedule, endpoint, key or ticket in that tenant.
    #[error("there is nothing of that id")]
    NotFound,
    #[error("there is no such tenant")]
    UnknownTenant,
    #[error("the tenant is suspended")]
    TenantSuspended,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Endpoint(#[from] EndpointRefused),
    /// Somebody else was faster: what it was decided on is no longer so.
    #[error("it was changed meanwhile")]
    Changed,
    #[error("the idempotency key was used with another body")]
    IdempotencyMismatch,
    #[error("it was used before")]
    AlreadyUsed,
    /// By another schedule.
    #[error("the name is taken")]
    NameTaken,
    /// Of schedules, endpoints or an endpoint's replays, in that tenant.
    #[error("the tenant has as many as it may have")]
    TooMany,
    /// The journal's queue, or the tenant's share of it, is full. Nothing was tried.
    #[error("too many changes are waiting to be committed")]
    Busy,
    /// The database rejected this command's values.
    #[error("the store rejected the change: {0}")]
    Rejected(String),
    /// The store cannot be reached, or is closing. Nothing was committed.
    #[error("the store is unavailable")]
    Unavailable,
    /// The store did not say whether it committed.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
}

/// Why a whole batch did not commit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Something in it cannot be stored: smaller batches may pass.
    #[error("the store rejected the batch: {0}")]
    Rejected(String),
    /// Nothing was committed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// It may or may not have been committed.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored does not read back.
    #[error("the store holds what cannot be read: {0}")]
    Corrupt(String),
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data folder {0} is in use by another server")]
    Locked(String),
    #[error("the {what} was written by a newer release (schema {found}, this one knows {known})")]
    Newer {
        /// A data folder or a database.
        what: &'static str,
        found: u32,
        known: u32,
    },
    #[error("SQLite {0} has a known corruption bug; 3.51.3 or later is needed")]
    Engine(String),
    #[error("the store's URL {0}")]
    Url(#[from] crate::UrlError),
    #[error("opening the store in {path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("opening the store: {0}")]
    Database(String),
    /// Nobody answers, or not yet: it may be tried again.
    #[error("the database at {place} is out of reach: {cause}")]
    Unreachable { place: String, cause: String },
}
