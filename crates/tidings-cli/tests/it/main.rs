//! The binary against itself: a real server, real workers, real commands.

mod harness;

mod descriptors;
mod exec;
mod exit_status;
mod health;
mod keys;
mod moving;
mod on_a_database;
mod streams;
mod tenants;
mod webhooks;
mod work;
