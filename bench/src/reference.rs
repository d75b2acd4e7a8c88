//! What Tidings is measured against, in the same run on the same machine.
//!
//! - [`bare`] is the least server that can do the delivery.
//! - [`sqlite`] runs the store's own statements without the store; [`append`] only writes and syncs.
//! - [`pgbench`] inserts what a batch of publishes inserts into PostgreSQL, with PostgreSQL's own program.
//! - [`graphile`] runs jobs on PostgreSQL with graphile-worker, from npm.
//! - [`post`] is the least client that can deliver by HTTP.
//! - [`nchan`] is the fastest of the peers: nginx with Debian's `libnginx-mod-nchan`.

pub(crate) mod append;
pub mod bare;
pub(crate) mod graphile;
pub(crate) mod nchan;
pub(crate) mod pgbench;
pub mod post;
pub(crate) mod sqlite;
