//! Webhooks on their way out: signed, sent to where the guard permits, and judged by their answer.
//!
//! - [`signing`]: Standard Webhooks signatures, by shared secrets and by key pairs.
//! - [`dispatcher`]: which events go to which endpoints and when, and what became of them.
//! - [`sender`]: one HTTP attempt, over connections that are kept, within bounds whatever the receiver does.

pub mod dispatcher;
pub mod sender;
mod shares;
pub mod signing;
