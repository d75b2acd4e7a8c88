//! What another program posts to a receiver.

use std::{net::SocketAddr, time::Duration};

use serde::Serialize;

use super::{
    process::{Processes, crowded},
    webhooks::Hall,
};

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PostReport {
    pub(crate) posts_per_s: f64,
    /// Of the program that posts.
    pub(crate) cpu_us_per_post: f64,
    pub(crate) body_bytes: f64,
    pub(crate) generator_load: f64,
    pub(crate) others_load: f64,
    /// Requests that were none.
    pub(crate) strange: u64,
}

impl PostReport {
    pub(crate) fn objection(&self) -> Option<String> {
        let strange = (self.strange > 0).then(|| format!("{} requests were none", self.strange));
        strange.or_else(|| crowded(self.others_load))
    }
}

/// Receives in the calling thread from what `start` starts, which gets the receiver's address and says whose time counts.
pub(crate) fn posts(
    start: impl FnOnce(SocketAddr) -> anyhow::Result<Processes>,
    warm_up: Duration,
    measure: Duration,
) -> anyhow::Result<PostReport> {
    let mut hall = Hall::open(1, 0, Processes::default())?;
    hall.processes = start(hall.receivers.addrs()?[0])?;
    hall.serve_for(warm_up)?;
    let start = hall.mark()?;
    hall.serve_for(measure)?;
    let end = hall.mark()?;
    Ok(PostReport {
        posts_per_s: (end.delivered - start.delivered) as f64 / end.seconds_since(&start),
        cpu_us_per_post: end.cpu_us_per_delivery(&start),
        body_bytes: hall.body_bytes(),
        generator_load: end.generator_load(&start),
        others_load: end.others_load(&start),
        strange: hall.receivers.strange,
    })
}
