//! The harness of the end-to-end tests: the real `tidings` binary as a private child process, and
//! clients that share no code with it.
//!
//! - [`server`] starts, kills, stops and restarts the binary in a folder of its own.
//! - [`cluster`] starts several on one PostgreSQL and one Redis.
//! - [`partner`] is where webhooks go; [`receivers`] are hundreds of them, and [`paced`] publishes for them at a rate.
//! - [`load`] is everybody at once, and the judgement of what came of it.
//! - [`memory`] says whether a server grows.
//! - [`wire`], [`http`], [`ws`] and [`sse`] are raw clients: they can send what no library would.
//! - [`follower`] reads one stream over any transport, through disconnects, by its cursor.
//! - [`crowd`] is live clients by the thousand, who come back as they are told.
//! - [`history`] judges what was submitted, acknowledged and delivered.
//!
//! Nothing here sleeps for a guessed time: [`wait`] polls until a deadline.

#![allow(clippy::format_push_string, reason = "requests are put together from lines; nothing here is hot")]

pub mod cluster;
pub mod crowd;
pub mod follower;
pub mod history;
pub mod http;
pub mod interop;
pub mod load;
pub mod memory;
pub mod paced;
pub mod partner;
pub mod receivers;
pub mod seed;
pub mod server;
pub mod sse;
pub mod stream;
pub mod wire;
pub mod ws;

pub use tidings_testkit::{socket, wait};

pub use follower::{Follower, Transport};
pub use http::{Api, Reply, Session};
pub use partner::{Does, Partner};
pub use receivers::{Receiver, Receivers};
pub use server::{Server, ServerOptions};
pub use stream::{Message, Stream, StreamRequest};
