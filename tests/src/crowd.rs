//! Live clients by the thousand, in two threads: each reads its stream, checks that nothing is left out, and comes back when it is told to.

mod client;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};

use crate::{Api, StreamRequest, wait};

use client::Client;
pub use client::{Attempt, Parting, Record};

/// How many of them open their first stream at a time.
const AT_ONCE: usize = 64;

/// All of them. Dropping it ends them, in the middle of whatever they do.
#[derive(Debug)]
pub struct Crowd {
    clients: Vec<Arc<Client>>,
    runtime: Option<Runtime>,
}

impl Crowd {
    /// Opens a stream for each of `requests` and returns when all are open. A client that is sent away turns to the next of `nodes`, and goes on from its
    /// cursor; each of its events must be the one after the last.
    ///
    /// # Panics
    /// When one is refused.
    pub fn gather(nodes: &[Api], requests: impl IntoIterator<Item = StreamRequest>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime starts");
        let opening = Arc::new(Semaphore::new(AT_ONCE));
        let clients: Vec<_> = requests
            .into_iter()
            .map(|request| {
                let client = Arc::new(Client::new(nodes.to_vec(), request));
                runtime.spawn(client.clone().live(opening.clone()));
                client
            })
            .collect();
        let crowd = Self { clients, runtime: Some(runtime) };
        crowd.await_all("to be there", wait::LONG * 4, Client::is_open);
        crowd
    }

    /// Whether each has been sent away once, and is there again.
    pub fn has_moved(&self) -> bool {
        self.clients.iter().all(|client| client.is_open() && !client.record().partings.is_empty())
    }

    /// Returns when all have the event `seq`.
    ///
    /// # Panics
    /// When one has not in time, or has been left out of another.
    #[track_caller]
    pub fn await_event(&self, seq: u64, within: Duration) {
        self.await_all("to have the last event", within, |client| client.head() >= seq && client.is_open());
    }

    #[track_caller]
    fn await_all(&self, what: &str, within: Duration, is_done: impl Fn(&Client) -> bool) {
        let start = Instant::now();
        let mut waiting: Vec<_> = self.clients.iter().collect();
        while !waiting.is_empty() {
            waiting.retain(|client| !is_done(client));
            let fault = self.clients.iter().find_map(|client| client.record().fault.clone());
            assert!(fault.is_none(), "{}", fault.unwrap_or_default());
            let first = waiting.first().map(|client| client.record());
            assert!(
                start.elapsed() < within,
                "after {within:?} {} of {} have yet {what}, one of them: {first:?}",
                waiting.len(),
                self.clients.len()
            );
            drop(first);
            wait::pause(Duration::from_millis(10));
        }
    }

    /// What each of them has seen so far.
    pub fn records(&self) -> Vec<Record> {
        self.clients.iter().map(|client| client.record().clone()).collect()
    }

    /// How many events came, of all together.
    pub fn events(&self) -> u64 {
        self.clients.iter().map(|client| client.record().events).sum()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(wait::LONG);
        }
    }
}
