//! Webhooks from outside: verified by libraries of other makers, sent to receivers of every bad kind.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod bad_receivers;
mod dispatching;
mod http2;
mod peers;
mod receiver;
mod reuse;
mod sending;
mod site;
