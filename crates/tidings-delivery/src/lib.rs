//! Live connections: who owns the sockets, and what is said on them beside the events.
//!
//! - A `Session` is one connection as a state machine without I/O: WebSocket or SSE, control messages,
//!   filter and credential changes, heartbeats, deadlines, the closing handshake.
//! - A `Shard` is a thread that owns sockets and drives their sessions from one epoll loop: the
//!   native path. A `Task` drives one session over any stream: the generic path.
//! - [`Delivery`] is the handle: attach a socket, close some connections, drain all.
//!
//! What is due to whom is `tidings-live`'s to know, who may ask is `tidings-server`'s. Nothing here waits
//! for the log, for a credential check, or for a client.

mod active;
mod budget;
mod close;
mod codec;
mod config;
mod connection;
mod context;
mod control;
mod delivery;
mod drain;
mod mailbox;
mod notice;
mod observer;
mod problem;
mod request;
mod session;
mod shard;
mod task;

pub use close::{CloseCode, CloseReason, Ending};
pub use codec::Violation;
pub use config::{DeliveryConfig, MessageLimit};
pub use connection::{ConnectionId, ConnectionInfo, ConnectionKind, NewConnection, Protocol, Stream};
pub use control::{Control, Denied};
pub use delivery::Delivery;
pub use drain::Return;
pub use observer::{LATENCY_BOUNDS, Observer, SIZE_BOUNDS, Unobserved, Written};
pub use problem::{PROBLEMS, ProblemKind};
