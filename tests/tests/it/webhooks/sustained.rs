//! A hundred deliveries a second over sixty tenants at shipped limits: each tenant at the very rate that it may have.
//!
//! `make test` does it for seconds, and judges what came. A soak does it for ten minutes, and judges when it came.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use serde_json::json;
use tidings_tests::{Receiver, Receivers, Server, memory::Memory, paced::Paced, wait};

use crate::soak;

use super::{
    PATIENCE,
    stage::{On, Stage, endpoint, percentile},
};

const TENANTS: usize = 60;
/// A second, of all tenants: 100 a minute for each of sixty.
const RATE: f64 = 100.0;
/// Bytes: with so many in each event, what a server keeps of each tenant's last events (1 MiB) is full after three minutes, and
/// memory that grows in the last half of a soak is not that.
const PADDING: usize = 4_000;
const SHORT: Duration = Duration::from_secs(8);
/// From an event's commit to its arrival, for 99 of 100.
const LATE: Duration = Duration::from_secs(1);
/// The oldest event that waits anywhere.
const OLDEST: Duration = Duration::from_secs(5);

/// The server, once a second.
#[derive(Debug, Default)]
struct Watched {
    /// The age of the oldest event that waited.
    oldest: Duration,
    memory: Memory,
}

fn watch(server: &Server, until: &mpsc::Receiver<()>) -> Watched {
    let mut watched = Watched::default();
    while until.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
        let oldest = server.metric("webhook_oldest_undelivered_seconds", "").expect("it is told");
        watched.oldest = watched.oldest.max(Duration::from_secs_f64(oldest));
        watched.memory.look(server);
    }
    watched
}

fn sixty_tenants_have_their_rate(on: On) {
    let length = soak().unwrap_or(SHORT);
    let stage = Stage::as_shipped(on, &[("webhooks.allow_cidrs", "127.0.0.0/8")]);
    let (tenants, receivers) = (stage.tenants(TENANTS), Receivers::start());
    let partners: Vec<Receiver> = tenants
        .iter()
        .map(|api| {
            let receiver = receivers.add(None);
            endpoint(api, &receiver, json!({}));
            receiver
        })
        .collect();
    let events = (RATE * length.as_secs_f64()) as usize;
    let paced = Paced { tenants: &tenants, rate: RATE, events, padding: PADDING };
    let (end, ended) = mpsc::channel();
    let (published, watched) = thread::scope(|scope| {
        let node = stage.node();
        let watching = scope.spawn(move || watch(node, &ended));
        let published = paced.publish(|_| "note.created");
        drop(end);
        (published, watching.join().expect("watching does not panic"))
    });
    for (partner, seqs) in partners.iter().zip(&published.seqs) {
        wait::is_true_within(PATIENCE, || partner.record().taken() >= seqs.len());
        let expected = seqs.iter().map(|(seq, _)| *seq).collect();
        partner.record().assert_whole("one of sixty tenants", &expected);
    }
    let mut after: Vec<_> = partners
        .iter()
        .flat_map(|p| p.record().came().iter().map(|came| came.after).collect::<Vec<_>>())
        .collect();
    after.sort_unstable();
    let at = |part| percentile(&after, part);
    let repeats: usize = partners.iter().map(|p| p.record().repeats()).sum();
    println!("{on:?}: {events} events at {:.1} of {RATE} a second, {repeats} repeats", published.rate);
    println!("  p50 {:?}, p95 {:?}, p99 {:?}, last {:?}", at(0.5), at(0.95), at(0.99), at(1.0));
    println!("  the oldest that waited {:?}", watched.oldest);
    if soak().is_some() {
        const MIB: f64 = 1_048_576.0;
        let (memory, growth) = (watched.memory.last() / MIB, watched.memory.slope() / MIB);
        println!("  memory {memory:.1} MiB, over the last half {growth:+.2} MiB an hour");
        let offered = published.rate / RATE;
        assert!(
            offered >= 0.95,
            "it offered {:.1} % of its rate: nothing is said of the rate",
            offered * 100.0
        );
        assert!(at(0.99) <= LATE, "99 of 100 arrived within {:?}", at(0.99));
        assert!(watched.oldest <= OLDEST, "an event waited {:?}", watched.oldest);
    }
}

#[test]
fn sixty_tenants_have_their_rate_on_the_embedded_store() {
    sixty_tenants_have_their_rate(On::Embedded);
}

#[test]
fn sixty_tenants_have_their_rate_on_postgresql() {
    sixty_tenants_have_their_rate(On::Postgres);
}
