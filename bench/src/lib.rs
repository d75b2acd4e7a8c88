//! The benchmarks of Tidings and the load generators they are made of.
//!
//! - [`load`] are the generators: they take a server's address and a token and return reports. `tidings
//!   bench` uses them as well.
//! - The references are the least programs that could do the same work, and nchan.
//! - Each [`Benchmark`] runs Tidings and its references in turn, and yields an [`Outcome`] with a table,
//!   the targets and whether they were met.

mod child;
pub mod load;
mod reference;
mod report;
mod scratch;
mod subject;
mod suite;

pub use reference::{
    bare::{self, Writes},
    post,
};
pub use report::{Bound, Check, Figure, Outcome, Row};
pub use suite::{Benchmark, Options, check_server};
