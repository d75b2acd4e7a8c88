//! Webhooks on their way out.
//!
//! - [`signing`]: Standard Webhooks signatures, by shared secrets and by key pairs.

pub mod signing;
