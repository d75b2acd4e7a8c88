//! Everybody at once: publishers, enqueuers, workers and readers of several tenants on every node, and the
//! judgement of what came of it.

mod stage;
mod tenant;

use std::{
    io, thread,
    time::{Duration, Instant},
};

pub use tenant::TenantLoad;

use self::{
    stage::{Abort, Stage},
    tenant::Running,
};
use crate::{
    Api, Follower, Reply, Session,
    wait::{self, LONG, pause},
};

/// How long after a fault's end everything must be as before.
pub const RECOVERY: Duration = Duration::from_secs(10);

/// The load of all tenants.
#[derive(Debug)]
pub struct Load {
    tenants: Vec<TenantLoad>,
    stage: Stage,
}

impl Load {
    pub fn new(tenants: Vec<TenantLoad>) -> Self {
        Self { tenants, stage: Stage::default() }
    }

    /// Runs the load while `fault` does its worst; then lets all jobs end and all readers reach the head, and
    /// judges the history: see [`TenantLoad::judge`]. Returns the readers of each tenant.
    ///
    /// # Panics
    /// When a promise was broken.
    pub fn run(&self, fault: impl FnOnce(&Self)) -> Vec<Vec<Follower>> {
        let start = Instant::now();
        let readers: Vec<Vec<_>> = thread::scope(|scope| {
            let abort = Abort(&self.stage);
            let running: Vec<_> = self.tenants.iter().map(|t| t.spawn(scope, &self.stage)).collect();
            fault(self);
            let faults = start.elapsed();
            let readers = self.finish(running);
            println!("{} acknowledged; faults {faults:?}, all {:?}", self.acknowledged(), start.elapsed());
            abort.disarm();
            readers
        });
        for (tenant, readers) in self.tenants.iter().zip(&readers) {
            tenant.judge(readers);
        }
        readers
    }

    fn finish(&self, running: Vec<Running<'_>>) -> Vec<Vec<Follower>> {
        let mut readers = Vec::new();
        let mut workers = Vec::new();
        self.stage.stop_producing();
        for tenant in running {
            join(tenant.producers);
            workers.extend(tenant.workers);
            readers.push(tenant.readers);
        }
        for tenant in &self.tenants {
            wait::until_true("all jobs to end", LONG * 4, || tenant.is_idle());
        }
        self.stage.stop_working();
        join(workers);
        for tenant in &self.tenants {
            tenant.find_head();
        }
        self.stage.read_to_head();
        readers.into_iter().map(join).collect()
    }

    /// Acknowledgements of all tenants so far.
    pub fn acknowledged(&self) -> usize {
        self.tenants.iter().map(TenantLoad::acknowledged).sum()
    }

    /// Refusals with 503 so far, each with its `Retry-After`.
    pub fn refused(&self) -> usize {
        self.tenants.iter().map(TenantLoad::refused).sum()
    }

    /// Waits until `more` were acknowledged.
    pub fn wait_acknowledged(&self, more: usize) {
        let enough = self.acknowledged() + more;
        wait::until_true("some acknowledgements", LONG, || self.acknowledged() >= enough);
    }

    /// Waits until something was refused.
    pub fn wait_refused(&self) {
        let before = self.refused();
        wait::until_true("a refusal", LONG, || self.refused() > before);
    }

    /// Every node acknowledges, and every reader has what it acknowledged, within [`RECOVERY`] of `ended`.
    pub fn assert_recovers(&self, ended: Instant) {
        let deadline = ended + RECOVERY;
        for tenant in &self.tenants {
            tenant.probe(deadline);
        }
        for tenant in &self.tenants {
            tenant.assert_reached(deadline);
        }
        println!("recovered {:?} after the fault's end", ended.elapsed());
    }
}

fn join<T>(threads: Vec<thread::ScopedJoinHandle<'_, T>>) -> Vec<T> {
    threads.into_iter().map(|t| t.join().expect("a client ends well")).collect()
}

/// Sends a request until it is answered, with 503 passing as no answer: a repeat goes to the next node,
/// where its idempotency key must count too. `refused` hears of every 503.
fn insist(
    nodes: &[Api],
    first: usize,
    stage: &Stage,
    refused: impl Fn(&Reply),
    call: impl Fn(&mut Session) -> io::Result<Reply>,
) -> Option<Reply> {
    for node in nodes.iter().cycle().skip(first % nodes.len()) {
        match node.session().and_then(|mut session| call(&mut session)) {
            Ok(reply) if reply.status == 503 => refused(&reply),
            Ok(reply) => return Some(reply),
            Err(_) => {}
        }
        if stage.is_aborted() {
            return None;
        }
        pause(Duration::from_millis(20));
    }
    None
}
