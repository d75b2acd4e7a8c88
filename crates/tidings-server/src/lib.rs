//! The HTTP server, also as a library.
//!
//! - [`config`] is what it is told; [`App`] is everything that runs, wired together; [`Server`] listens
//!   for it and [`App::router`] mounts in another axum application.
//! - `routes` are the operations, `access` decides who may do them, [`problem`] is what they say when
//!   they refuse.
//! - `webhooks` delivers; `endpoints` is what the API needs of webhooks: a judge of URLs, and secrets.
//! - `duties` is who does what one node does for all.
//! - `leases` is where workers wait; `streams` and `listener` hand live connections to
//!   `tidings-delivery`.
//! - [`offline`] is what is done at a store and its keys without a server.
//! - [`metrics`] is everything that `/metrics` shows.

mod access;
mod addresses;
mod app;
mod body;
pub mod config;
mod drain;
mod duties;
mod endpoints;
mod entropy;
mod health;
mod idempotency;
mod ids;
mod layers;
mod leases;
mod lifecycle;
mod listener;
pub mod metrics;
mod object;
pub mod offline;
mod openapi;
mod outbox;
mod params;
mod path;
mod places;
pub mod problem;
mod quotas;
mod rates;
mod refusal;
mod request_id;
mod rescue;
mod retention;
mod revocation;
mod routes;
mod schedules;
mod services;
mod settings;
mod streams;
mod tenants;
mod webhooks;

pub use app::{App, StartError};
pub use drain::Drain;
pub use lifecycle::{Ended, Server, Sockets};
pub use settings::Settings;
