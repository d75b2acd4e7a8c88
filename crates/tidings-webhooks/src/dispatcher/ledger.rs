//! What came of attempts, until the store has it.

use std::collections::BTreeMap;

use tidings_core::{
    EndpointId, ReplayId, Seq, Timestamp,
    webhook::{Attempt, Delivery, DisabledReason},
};
use tidings_store::Report;
use tokio::time::Instant;

/// Results of one endpoint that no report has taken yet.
#[derive(Debug)]
pub(super) struct Ledger {
    endpoint: EndpointId,
    generation: u64,
    attempts: Vec<Attempt>,
    /// The latest of each seq.
    deliveries: BTreeMap<Seq, Delivery>,
    delivered: Vec<Seq>,
    replays: BTreeMap<ReplayId, Seq>,
    failing: Failing,
    quiet_until: Option<Timestamp>,
    disable: Option<DisabledReason>,
    /// When the oldest of it came.
    since: Option<Instant>,
}

/// What there is to say of whether the endpoint fails.
#[derive(Debug, Default)]
enum Failing {
    #[default]
    Unchanged,
    No,
    Since(Timestamp),
}

impl Ledger {
    pub(super) const fn new(endpoint: EndpointId, generation: u64) -> Self {
        Self {
            endpoint,
            generation,
            attempts: Vec::new(),
            deliveries: BTreeMap::new(),
            delivered: Vec::new(),
            replays: BTreeMap::new(),
            failing: Failing::Unchanged,
            quiet_until: None,
            disable: None,
            since: None,
        }
    }

    pub(super) fn attempted(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
        self.touch();
    }

    /// It is retried or dead from now on.
    pub(super) fn put(&mut self, delivery: Delivery) {
        self.deliveries.insert(delivery.seq, delivery);
        self.touch();
    }

    /// A row that there is, or may be, goes.
    pub(super) fn delivered(&mut self, seq: Seq) {
        self.deliveries.remove(&seq);
        self.delivered.push(seq);
        self.touch();
    }

    pub(super) fn replayed(&mut self, replay: ReplayId, through: Seq) {
        self.replays.insert(replay, through);
        self.touch();
    }

    pub(super) fn failing(&mut self, since: Option<Timestamp>) {
        self.failing = since.map_or(Failing::No, Failing::Since);
        self.touch();
    }

    /// The receiver asked to be left alone until then.
    pub(super) fn quiet(&mut self, until: Timestamp) {
        self.quiet_until = self.quiet_until.max(Some(until));
        self.touch();
    }

    pub(super) fn disable(&mut self, reason: DisabledReason) {
        self.disable = Some(reason);
        self.touch();
    }

    fn touch(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) const fn attempts(&self) -> usize {
        self.attempts.len()
    }

    pub(super) const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// All of it, and the cursor where that has moved.
    pub(super) fn take(&mut self, cursor: Option<Seq>) -> Report {
        self.since = None;
        Report {
            cursor,
            replays: std::mem::take(&mut self.replays).into_iter().collect(),
            attempts: std::mem::take(&mut self.attempts),
            deliveries: std::mem::take(&mut self.deliveries).into_values().collect(),
            delivered: std::mem::take(&mut self.delivered),
            failing_since: match std::mem::take(&mut self.failing) {
                Failing::Unchanged => None,
                Failing::No => Some(None),
                Failing::Since(since) => Some(Some(since)),
            },
            quiet_until: self.quiet_until.take(),
            disable: self.disable.take(),
            ..Report::new(self.endpoint, self.generation)
        }
    }
}
