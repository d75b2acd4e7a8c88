//! Real programs as private children of a test: PostgreSQL, Redis, PgBouncer, and the network between.
//!
//! - [`Postgres`], [`Redis`], [`RedisCluster`] and [`PgBouncer`] run on free ports of the loopback interface in
//!   temporary folders. Each can be killed, paused and started again; dropping one ends it and removes its folder.
//! - [`Proxy`] stands before any of them and cuts, stalls or delays; [`Netns`] is a network of its own.
//! - [`Certificates`] are a server's, by an authority that only the test knows.
//! - [`Port`] is a port that no other test takes, [`wait`] polls up to a deadline,
//!   [`socket`] reads on when the process was stopped.
//!
//! Whatever happens to the test's process, its children end with it: the kernel tells them
//! (`PR_SET_PDEATHSIG`), so a value in a `static` needs no drop. A program that is missing is a panic that
//! names the package to install. As root, the programs that refuse root run as an unprivileged user.

mod certificates;
mod folder;
mod netns;
mod pgbouncer;
mod port;
mod postgres;
mod process;
mod program;
mod proxy;
mod redis;
pub mod socket;
pub mod wait;

pub use certificates::Certificates;
pub use netns::Netns;
pub use pgbouncer::PgBouncer;
pub use port::Port;
pub use postgres::{Postgres, PostgresOptions};
pub use process::{is_alive, signal};
pub use proxy::{Counts, Proxy};
pub use redis::{Redis, RedisCluster, RedisOptions, valkey_is_installed};
