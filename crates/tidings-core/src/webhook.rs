//! Webhooks: where a tenant's events are sent, and what became of each.
//!
//! An [`EndpointSpec`] is what an endpoint is told to do; an [`Endpoint`] adds the [grant](crate::Grant) that it
//! reads with, its [state](EndpointState), its secrets and its cursor into the log. Events after the cursor are
//! still to be delivered for the first time. What failed goes on in a [`Delivery`] of its own, and what was asked
//! for again in a [`Replay`]. Every HTTP try is an [`Attempt`] in the delivery log.
//!
//! The [generation](Endpoint::generation) rises with every change of state or of a cursor by hand: who has
//! delivered under an older one has delivered, and moves no cursor.

mod attempt;
mod delivery;
mod endpoint;
mod events;
mod format;
mod headers;
mod json;
mod partition;
mod retry;
mod secret;
mod spec;
mod state;

pub use attempt::{Attempt, AttemptFailure, AttemptFailureError};
pub use delivery::{Delivery, DeliveryState, Replay};
pub use endpoint::{Endpoint, EndpointRefused, Resume, ResumeError};
pub use events::{Gap, disabled_event, gap_event};
pub use format::{Format, FormatError};
pub use headers::{HeaderError, Headers};
pub use partition::Partition;
pub use retry::{RetryError, RetrySchedule};
pub use secret::{Secret, SecretKind};
pub use spec::{EndpointSpec, SpecError};
pub use state::{DisabledReason, EndpointState, StateName};
