//! Publishing at a rate, by the clock and not by the answers: who is slow is not spared.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{Api, Session, wait};

/// How many publish at a time.
const PUBLISHERS: usize = 8;
/// How long a connection is good for without a request: the server closes it some time later.
const KEPT: Duration = Duration::from_secs(3);

/// Events of each tenant in turn, evenly.
#[derive(Debug)]
pub struct Paced<'a> {
    pub tenants: &'a [Api],
    /// A second, of all tenants together.
    pub rate: f64,
    pub events: usize,
    /// Bytes of each that say nothing.
    pub padding: usize,
}

/// What was published.
#[derive(Debug, Default)]
pub struct Published {
    /// Of each tenant: the seq of each event, and its number from 0.
    pub seqs: Vec<Vec<(u64, usize)>>,
    /// A second, in truth.
    pub rate: f64,
}

impl Paced<'_> {
    /// Publishes all, `event_type` being told an event's number within its tenant. Returns when the last is acknowledged.
    ///
    /// # Panics
    /// When one is not.
    pub fn publish(&self, event_type: impl Fn(usize) -> &'static str + Sync) -> Published {
        let (start, next) = (Instant::now(), AtomicUsize::new(0));
        // Of each tenant, those that nobody uses now, and since when.
        let kept: Vec<Mutex<Vec<(Session, Instant)>>> =
            self.tenants.iter().map(|_| Mutex::default()).collect();
        let kept = |tenant: usize| kept[tenant].lock().expect("no holder panics");
        let padding = "x".repeat(self.padding);
        let publisher = || {
            let mut acknowledged = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= self.events {
                    return acknowledged;
                }
                let due = start + Duration::from_secs_f64(n as f64 / self.rate);
                while let Some(early) = due.checked_duration_since(Instant::now()).filter(|d| !d.is_zero()) {
                    wait::pause(early);
                }
                let (tenant, number) = (n % self.tenants.len(), n / self.tenants.len());
                let event =
                    json!({ "type": event_type(number), "data": { "n": number, "padding": padding } });
                let session = kept(tenant).pop().filter(|(_, since)| since.elapsed() < KEPT);
                let mut session = session.map_or_else(
                    || self.tenants[tenant].session().expect("the server is there"),
                    |(session, _)| session,
                );
                let reply = session.post("/api/v1/events", &event).expect("answers").expect(201);
                kept(tenant).push((session, Instant::now()));
                acknowledged.push((tenant, seq(&reply.json()), number));
            }
        };
        let all = thread::scope(|scope| {
            let running: Vec<_> = (0..PUBLISHERS).map(|_| scope.spawn(publisher)).collect();
            running.into_iter().flat_map(|one| one.join().expect("a publisher does not panic")).collect()
        });
        self.sorted(all, start.elapsed())
    }

    fn sorted(&self, all: Vec<(usize, u64, usize)>, took: Duration) -> Published {
        let mut seqs = vec![Vec::new(); self.tenants.len()];
        for (tenant, seq, number) in all {
            seqs[tenant].push((seq, number));
        }
        for seqs in &mut seqs {
            seqs.sort_unstable();
        }
        // The first is due at once: as many spaces as events.
        let took = took.max(Duration::from_secs_f64(self.events as f64 / self.rate));
        Published { seqs, rate: self.events as f64 / took.as_secs_f64() }
    }
}

fn seq(reply: &Value) -> u64 {
    reply["seq"].as_u64().expect("a seq")
}
