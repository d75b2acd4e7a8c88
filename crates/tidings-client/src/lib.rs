//! The Rust client of Tidings.
//!
//! - [`Client`] speaks the HTTP API: jobs, leases, events, queues, schedules, tickets, keys, tenants. A refusal is
//!   a [`ClientError`] that carries the server's [`Problem`].
//! - [`EventStream`] follows a tenant's log live, over WebSocket or SSE. It reconnects by itself, goes on
//!   from its cursor, fills gaps by replay, and yields each event once and in order: never a duplicate,
//!   never silently a hole.
//! - [`worker`] leases jobs, runs them, keeps their leases alive and reports how they ended.
//! - [`Credential`] is a fixed token or a source of fresh ones, asked before the old one ends.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tidings_client::{Client, Credential, Item, StreamRequest};
//!
//! let client = Client::builder("http://127.0.0.1:3000").credential(Credential::fixed("tdk_…")).build()?;
//! let mut events = client.stream(&StreamRequest::default());
//! while let Some(item) = events.next().await {
//!     if let Item::Event(event) = item? {
//!         println!("{}", event.text());
//!     }
//! }
//! # Ok(()) }
//! ```

mod api;
mod backoff;
mod client;
mod credential;
mod envelope;
mod error;
mod request;
mod stream;
pub mod worker;

pub use api::{
    events::{EventsPage, PublishRequest, Published, ReplayRequest},
    jobs::{BackoffRequest, EnqueueRequest, JobError, JobFields, JobListRequest, JobPage, JobView},
    keys::{CreatedKey, KeyPage, KeyReach, KeyRequest},
    leases::{FailRequest, LeaseRequest, LeasedJob, Pulse},
    queues::Queue,
    schedules::{ScheduleFields, SchedulePage, ScheduleRequest, ScheduleView, ScheduledJob},
    tenants::{TenantPage, TenantView},
    tickets::{Ticket, TicketRequest},
    webhooks::{
        DeliveriesPage, DeliveriesRequest, NewWebhook, WebhookBacklog, WebhookFields, WebhookPage,
        WebhookReplay, WebhookSecret, WebhookView,
    },
};
pub use backoff::Backoff;
pub use client::{Client, ClientBuilder};
pub use credential::{Credential, Token};
pub use envelope::{Envelope, EnvelopeError};
pub use error::{ClientError, Problem};
pub use stream::{EventStream, Item, Selection, Start, StreamError, StreamRequest, Transport};
