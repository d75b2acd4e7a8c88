//! Several nodes on one PostgreSQL and one Redis: the promises of one node, whatever befalls any part.
//!
//! Each test is short. `make soak` sets `TIDINGS_SOAK`, the seconds that each fault goes on for.

mod credentials;
mod duties;
mod jobs;
mod network;
mod polls;
mod servers;
mod start;

use std::time::{Duration, Instant};

use tidings_tests::{
    Follower,
    cluster::Cluster,
    load::{Load, TenantLoad},
};

use crate::soak;

const TENANTS: [&str; 3] = ["red", "green", "blue"];
const READERS_PER_TENANT: usize = 68;
/// What each of the producers rests: some fifteen events a second and tenant, each for all its readers. Many
/// readers and few events: what is asked here is what befalls the connections, not a rate.
const PACE: Duration = Duration::from_millis(600);

fn load(cluster: &Cluster) -> Load {
    let tenants = TENANTS.map(|t| TenantLoad::new(t, cluster.tenant(t), READERS_PER_TENANT, PACE));
    Load::new(tenants.into())
}

/// Runs `round` this often; in a soak until its time is over.
fn repeat(rounds: usize, mut round: impl FnMut(usize)) {
    let (start, length) = (Instant::now(), soak());
    for n in 0.. {
        if length.map_or(n >= rounds, |length| start.elapsed() >= length) {
            return;
        }
        round(n);
    }
}

/// Nobody had to come back.
#[track_caller]
fn assert_nobody_reconnected(readers: &[Vec<Follower>]) {
    let again: Vec<_> = readers.iter().flatten().map(|r| r.connections).filter(|c| *c != 1).collect();
    assert!(again.is_empty(), "connections of those that came back: {again:?}");
}

/// Each of the readers was told, in band, that what it saw was not live.
#[track_caller]
fn assert_told_stale<'a>(readers: impl Iterator<Item = &'a Follower>) {
    let told = |r: &Follower| r.signals.iter().any(|s| s["type"] == "stream.stale" && s["as_of"].is_string());
    let (told, untold): (Vec<_>, Vec<_>) = readers.partition(|r| told(r));
    assert!(untold.is_empty(), "{} readers were told, {} were not", told.len(), untold.len());
}
