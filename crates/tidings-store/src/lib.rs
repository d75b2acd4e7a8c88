//! The log and the queue on disk.
//!
//! - [`Store`] is what a database must do: commit a [`Batch`] of [`Command`]s in one transaction, and
//!   read. Every store passes the one `conformance` suite.
//! - [`SqliteStore`] is the embedded store: one file, one writer, readers apart.
//! - [`Journal`] is the only way to change anything: in each of its lanes it gathers commands while a
//!   transaction is in flight, commits them together, hands the committed events to its [`CommitSink`]
//!   and then answers.
//!
//! [`Webhooks`] is what dispatchers and the API read of webhook endpoints; what they change are commands too.
//!
//! SQL is nowhere else.

mod archive;
mod cluster;
mod command;
mod concurrency;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod job_state;
mod journal;
mod permits;
mod places;
mod postgres;
mod read;
mod sqlite;
#[cfg(any(test, feature = "conformance"))]
pub mod stand_in;
mod store;
mod transition;
mod webhooks;

pub use archive::{Begun, Exported, Import, ImportError, Imported, Seals, export, import};
pub use cluster::{Beat, Cluster, ClusterError, Duty, Moves, Seen, Term};
pub use command::{
    Batch, Claim, Claimed, Command, Committed, Enqueued, Idempotency, Leased, Maintain, NewKey, Operation,
    Outcome, Published, SCHEDULES_MAX, Swept,
};
pub use error::{CommandError, CommitError, OpenError, ReadError};
pub use journal::{BatchObserved, CommitSink, Journal, JournalConfig, JournalStats};
pub use places::{Holder, PlacesAsked, PlacesGiven};
pub use postgres::{PostgresConfig, PostgresStore, StoreClock, UrlError};
pub use read::{
    EventPage, JobPage, JobQuery, KeyRecord, LogState, PageLimit, QueueStats, Retention, Revocation, Schema,
    TenantRecord, TenantState, WebhookRetention,
};
pub use sqlite::{SqliteConfig, SqliteStore};
pub use store::Store;
pub use webhooks::{
    AttemptPlace, AttemptQuery, DeliveryQuery, Dispatchable, EndpointBacklog, EndpointChange, LoggedAttempt,
    NewEndpoint, ReplayWhat, Report, Webhooks,
};
