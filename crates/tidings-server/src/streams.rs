//! The live streams: what is checked before one begins, and how its connection gets to those who serve it.
//!
//! - [`ws()`] and [`sse()`] are the handlers; [`echo`] is the same stack for conformance suites.
//! - [`Asking`](asking::Asking) is what they begin with: who asks, and for what.
//! - [`Desk`] is what they share: the delivery, and the places under the limit of connections.
//! - [`InBand`] judges the tokens that streams are refreshed with.

mod admission;
mod asking;
mod begin;
mod echo;
mod in_band;
mod request;
mod sse;
#[cfg(test)]
mod tests;
mod upgrade;
mod ws;

pub(crate) use admission::Desk;
pub(crate) use echo::echo;
pub(crate) use in_band::InBand;
pub(crate) use sse::sse;
pub(crate) use ws::{__path_ws, ws};
