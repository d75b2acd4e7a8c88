//! The kit's own promises, on the real programs.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod netns;
mod pgbouncer;
mod postgres;
mod process;
mod proxy;
mod redis;
mod socket;
