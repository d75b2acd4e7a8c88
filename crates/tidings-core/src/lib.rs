//! The vocabulary of Tidings: pure values, no I/O, no async.
//!
//! Every other crate speaks in these types; there is no second copy of an event or a job as a
//! transfer object.
//!
//! - [`Event`] is a committed fact; [`NewEvent`] is one that has not been numbered yet. Its bytes on
//!   the wire are its [envelope](Event::write_envelope), the same on every transport.
//! - [`Seq`], [`Epoch`] and [`Cursor`] say where a reader is in a tenant's log.
//! - [`Job`] is a state machine: [`JobState`]'s variants carry their own data and a transition
//!   either yields the next state with the events it makes, or says why it may not happen.
//! - A [`Schedule`] enqueues a job at each of its fire times, which cron expressions and time zones say.
//! - A [webhook](webhook) endpoint is a place outside to which a tenant's events are sent, from a cursor of its own.
//! - [`Principal`] is who a credential stands for; [`Scope`]s, [`Pattern`]s and the owner limit say
//!   what it may see, and [`Filter`] what it asked to see.
//! - A [`Meter`] says what is left of a [`Quota`]: every limit on how fast is one.
//! - [`Failure`] carries a category and a scrubbed message; the raw text stays with the job.

mod clock;
mod duration;
mod event;
mod event_type;
mod failure;
mod filter;
mod id;
pub mod job;
mod json;
mod meter;
mod name;
mod pattern;
mod principal;
mod rate;
pub mod schedule;
mod scope;
mod scrub;
mod seq;
mod time;
mod verbosity;
pub mod webhook;

pub use clock::{Clock, Entropy, SystemClock, SystemEntropy};
pub use duration::{DurationError, format_duration, parse_duration};
pub use event::{Event, EventBody, JobRef, NewEvent};
pub use event_type::{EventType, EventTypeError};
pub use failure::{Category, Failure};
pub use filter::{Filter, FilterError, FilterRequest};
pub use id::{EndpointId, EventId, IdError, JobId, KeyId, ReplayId, ScheduleId, SecretId};
pub use job::{Job, JobState, NewJob};
pub use json::{JsonError, RawJson, StrictJson, StrictObject};
pub use meter::{Exceeded, Left, Meter, Quota};
pub use name::{JobType, NameError, ScheduleName, Subject, TenantId, UniqueKey, UserId, WorkerName};
pub use pattern::{Pattern, PatternError};
pub use principal::{Audience, CredentialId, Grant, GrantError, JobAccess, Principal, Tenants};
pub use rate::{Rate, RateError};
pub use schedule::{Schedule, ScheduleSpec};
pub use scope::{Scope, ScopeError, ScopeSet};
pub use scrub::scrub;
pub use seq::{Cursor, CursorError, Epoch, Seq};
pub use time::{Timestamp, TimestampError};
pub use verbosity::{Verbosity, VerbosityError};
pub use webhook::{Endpoint, EndpointSpec};
