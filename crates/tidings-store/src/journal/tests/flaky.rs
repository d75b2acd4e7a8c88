use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::sync::Arc;
use tidings_core::{Event, NewEvent, Seq, Timestamp};
use tokio::sync::Notify;

use crate::{Batch, Command, CommitError, Committed, Operation, Outcome, Published, stand_in::StandIn};

/// How often a commit ends otherwise than well.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chance {
    /// Half of these were committed.
    pub(super) unknown: f64,
    pub(super) unavailable: f64,
    pub(super) rejected: f64,
    pub(super) panics: f64,
}

/// One log in memory. An event's data is its number.
pub(super) struct FlakyStore {
    state: Mutex<State>,
    chance: Chance,
    /// The first commit waits for it where it is closed.
    gate_open: AtomicBool,
    gate: Notify,
    entered: Notify,
}

struct State {
    random: StdRng,
    applied: Vec<usize>,
    batches: Vec<usize>,
    rejected: Vec<usize>,
}

pub(super) fn number_of(event: &Event) -> usize {
    number(&event.fact)
}

fn number(fact: &NewEvent) -> usize {
    fact.body.minimal.as_str().parse().expect("a number")
}

impl FlakyStore {
    pub(super) fn new(seed: u64, chance: Chance) -> Self {
        let state = State {
            random: StdRng::seed_from_u64(seed),
            applied: Vec::new(),
            batches: Vec::new(),
            rejected: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            chance,
            gate_open: true.into(),
            gate: Notify::new(),
            entered: Notify::new(),
        }
    }

    pub(super) fn gated() -> Self {
        Self { gate_open: false.into(), ..Self::new(0, Chance::default()) }
    }

    /// Until a commit has come to the gate.
    pub(super) async fn entered(&self) {
        self.entered.notified().await;
    }

    pub(super) fn open_gate(&self) {
        self.gate_open.store(true, Ordering::SeqCst);
        self.gate.notify_one();
    }

    /// Batches that hold one of these are rejected.
    pub(super) fn reject<const N: usize>(&self, numbers: [usize; N]) {
        self.state.lock().rejected = numbers.into();
    }

    pub(super) fn applied(&self) -> Vec<usize> {
        self.state.lock().applied.clone()
    }

    /// How many commands each commit held.
    pub(super) fn batches(&self) -> Vec<usize> {
        self.state.lock().batches.clone()
    }
}

impl State {
    fn apply(&mut self, batch: &Batch) -> Committed {
        let mut committed = Committed { outcomes: Vec::new(), events: Vec::new(), epochs: Vec::new() };
        for command in &batch.commands {
            let Command::Tenant { tenant, operation: Operation::Publish { events, .. }, .. } = command else {
                committed.outcomes.push(Ok(Outcome::Done));
                continue;
            };
            let mut published = Vec::new();
            for fact in events {
                self.applied.push(number(fact));
                let seq = Seq::new(self.applied.len() as u64);
                published.push(Published { seq, id: fact.id, time: Timestamp::default() });
                let event =
                    Event { seq, time: Timestamp::default(), tenant: tenant.clone(), fact: fact.clone() };
                committed.events.push(Arc::new(event));
            }
            committed.outcomes.push(Ok(Outcome::Published(published)));
        }
        committed
    }

    fn holds_rejected(&self, batch: &Batch) -> bool {
        batch.commands.iter().any(|command| match command {
            Command::Tenant { operation: Operation::Publish { events, .. }, .. } => {
                events.iter().any(|fact| self.rejected.contains(&number(fact)))
            }
            _ => false,
        })
    }
}

#[async_trait]
impl StandIn for FlakyStore {
    async fn commit(&self, _: usize, batch: &Batch) -> Result<Committed, CommitError> {
        while !self.gate_open.load(Ordering::SeqCst) {
            self.entered.notify_one();
            self.gate.notified().await;
        }
        tokio::task::yield_now().await;
        let mut state = self.state.lock();
        let Chance { unknown, unavailable, rejected, panics } = self.chance;
        assert!(!state.random.random_bool(panics), "a store that panics");
        if state.random.random_bool(unknown) {
            if state.random.random_bool(0.5) {
                state.apply(batch);
            }
            return Err(CommitError::Unknown("the answer was lost".into()));
        }
        if state.random.random_bool(unavailable) {
            return Err(CommitError::Unavailable("the database is away".into()));
        }
        if state.random.random_bool(rejected) || state.holds_rejected(batch) {
            return Err(CommitError::Rejected("a value".into()));
        }
        state.batches.push(batch.commands.len());
        Ok(state.apply(batch))
    }
}
