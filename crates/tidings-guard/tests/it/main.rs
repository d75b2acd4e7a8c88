//! The guard from outside: every attack of its table, and what must get through.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod attacks;
mod connecting;
mod name_server;
mod namespace;
mod own;
mod properties;
mod proxying;
mod rebinding;
mod site;
mod table;
