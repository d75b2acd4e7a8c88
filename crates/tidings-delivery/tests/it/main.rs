//! Connections over real sockets, above a log in memory.

mod closing;
mod expiry;
mod generic;
mod inbound;
mod kit;
mod slow;
mod stale;
mod streaming;
