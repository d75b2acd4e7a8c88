//! Load generators: one thread of epoll each, cheap enough to share two cores with what they load.
//!
//! - [`fanout`] publishes, saturating or paced, to subscribers over WebSocket or SSE and checks that
//!   each of them gets every event once and in order.
//! - [`idle`] holds connections open and reads the server's memory.
//! - [`jobs`] enqueues, leases and completes.
//! - [`fairness`] is one tenant's paced load while another one floods.
//! - [`webhooks`] publishes and receives what comes out as webhooks; [`backlog`] has them wait.
//!
//! Each takes a [`Target`] and returns a serialisable report; a report's `objection` says why it proves
//! nothing or which promise it saw broken. They block the calling thread. An error that is a [`Refusal`] is the server's
//! own answer; one with an `io::Error` in its chain is mostly the connection's.

mod backlog;
mod clock;
mod crowd;
mod fairness;
mod fanout;
mod hop;
mod http;
mod idle;
mod jobs;
mod latency;
pub(crate) mod message;
mod posts;
mod process;
mod process_tree;
mod publisher;
mod readiness;
mod receiver;
mod sse;
mod subscriber;
mod tally;
mod target;
mod webhooks;
pub(crate) mod websocket;

pub use backlog::{BacklogLoad, BacklogReport, backlog};
pub use clock::Ticker;
pub use fairness::{Answers, FairnessLoad, FairnessReport, FloodLoad, FloodReport, fairness};
pub use fanout::{FanoutLoad, FanoutReport, OFFERED_MIN, fanout};
pub use hop::{HopLoad, HopReport, hop};
pub use http::Refusal;
pub use idle::{IdleLoad, IdleReport, idle};
pub use jobs::{JobLoad, JobReport, jobs};
pub use latency::{Latencies, LatencySummary};
pub(crate) use posts::{PostReport, posts};
pub use process::Processes;
pub(crate) use process::{OTHERS_MAX, crowded, machine_busy_s};
pub(crate) use process_tree::ProcessTree;
pub use publisher::Pace;
pub(crate) use readiness::await_ready;
pub use tally::Faults;
pub use target::{Dialect, Target, Transport};
pub use webhooks::{DeliveryFaults, WebhookLoad, WebhookReport, webhooks};
