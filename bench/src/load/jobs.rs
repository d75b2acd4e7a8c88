use std::time::Duration;

use anyhow::{Context as _, bail};
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use super::{
    await_ready,
    clock::Ticker,
    crowd::{Crowd, connect},
    http::{Answer, HttpConnection, Refusal},
    latency::{Latencies, LatencySummary},
    process::{Processes, crowded, machine_busy_s},
    target::{Target, Transport},
};

/// Jobs that are enqueued, leased and completed as fast as the server lets them.
#[derive(Debug, Clone)]
pub struct JobLoad {
    pub target: Target,
    /// Jobs in one enqueue request: 1 sends an object, more an array.
    pub enqueue_batch: usize,
    /// Jobs that one lease request asks for.
    pub lease_max: usize,
    /// HTTP connections for each: one request at a time on each of them.
    pub enqueuers: usize,
    pub workers: usize,
    pub completers: usize,
    /// Enqueuing holds back while so many jobs wait or run.
    pub open_max: u64,
    pub warm_up: Duration,
    pub measure: Duration,
    pub processes: Processes,
}

impl JobLoad {
    /// Every job enqueued and completed by a request of its own.
    pub fn one_by_one(target: Target, processes: Processes, measure: Duration) -> Self {
        Self {
            target,
            enqueue_batch: 1,
            lease_max: 64,
            enqueuers: 32,
            workers: 2,
            completers: 32,
            open_max: 512,
            warm_up: Duration::from_secs(1),
            measure,
            processes,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobReport {
    pub enqueue_batch: usize,
    pub lease_max: usize,
    pub seconds: f64,
    /// Jobs that were enqueued, leased and completed.
    pub cycles: u64,
    pub cycles_per_s: f64,
    pub cpu_us_per_cycle: f64,
    /// The load generator's own share of one core.
    pub generator_load: f64,
    /// Cores that were busy with neither the server nor the generator.
    pub others_load: f64,
    /// From sending the request to its answer.
    pub enqueue: LatencySummary,
    pub complete: LatencySummary,
    /// From the answer that named a job to the answer that confirmed its completion.
    pub lease_to_complete: LatencySummary,
    /// Events of these jobs that one subscriber saw: three for each cycle.
    pub events: u64,
    /// What the subscriber or an answer showed to be wrong.
    pub faults: Vec<String>,
}

impl JobReport {
    pub fn objection(&self) -> Option<String> {
        self.faults.first().cloned().or_else(|| crowded(self.others_load))
    }
}

/// Runs the load in the calling thread; it blocks for its whole length.
pub fn jobs(load: &JobLoad) -> anyhow::Result<JobReport> {
    if load.enqueuers == 0 || load.workers == 0 || load.completers == 0 || load.enqueue_batch == 0 {
        bail!("a job load has at least one enqueuer, worker and completer");
    }
    let mut poll = Poll::new()?;
    let crowd = Crowd::connect(&mut poll, &load.target, Transport::WebSocket, 1)?;
    let mut connections = Vec::new();
    for role in load.roles() {
        let mut stream = connect(&load.target).context("connecting")?;
        let token = Token(connections.len() + 1);
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        connections.push((role, HttpConnection::new(stream)));
    }
    let requests = Requests::new(load);
    let counts = Counts::default();
    Run { load, poll, crowd, connections, requests, clock: Ticker::start(), counts }.run()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Enqueue,
    Lease,
    Complete,
}

impl Role {
    const fn request(self) -> &'static str {
        match self {
            Self::Enqueue => "an enqueue",
            Self::Lease => "a lease",
            Self::Complete => "a completion",
        }
    }
}

impl JobLoad {
    fn roles(&self) -> impl Iterator<Item = Role> {
        let of = |role, count| std::iter::repeat_n(role, count);
        of(Role::Complete, self.completers)
            .chain(of(Role::Lease, self.workers))
            .chain(of(Role::Enqueue, self.enqueuers))
    }
}

/// Requests that are always the same.
struct Requests {
    enqueue: Vec<u8>,
    lease: Vec<u8>,
}

impl Requests {
    fn new(load: &JobLoad) -> Self {
        let job =
            r#"{"type":"bench","payload":{"document":"0192f0c4-0000-7000-8000-000000000000","page":7}}"#;
        let body = match load.enqueue_batch {
            1 => job.to_owned(),
            many => format!("[{}]", vec![job; many].join(",")),
        };
        let lease = format!(r#"{{"worker":"bench","types":["bench"],"max":{},"wait_s":5}}"#, load.lease_max);
        Self {
            enqueue: load.target.post("/api/v1/jobs", body.as_bytes()),
            lease: load.target.post("/api/v1/leases", lease.as_bytes()),
        }
    }
}

/// What is remembered of a request in flight.
#[derive(Debug, Clone, Copy)]
struct Sent {
    role: Role,
    at_us: u64,
    /// For a completion: when its lease came.
    leased_us: u64,
}

#[derive(Debug, Default)]
struct Counts {
    enqueue_sent: u64,
    enqueued: u64,
    leased: u64,
    completed: u64,
    /// Lease tokens that wait for a completer, and when they came.
    ready: std::collections::VecDeque<(String, u64)>,
    stopping: bool,
    measuring: bool,
    enqueue: Latencies,
    complete: Latencies,
    lease_to_complete: Latencies,
    faults: Vec<String>,
}

#[derive(Deserialize)]
struct Leases {
    leases: Vec<Lease>,
}

#[derive(Deserialize)]
struct Lease {
    lease: String,
}

impl Counts {
    fn answered(&mut self, sent: Sent, answer: &Answer, now_us: u64, batch: u64) -> anyhow::Result<()> {
        if !(200..300).contains(&answer.status) {
            let (what, status, body) = (sent.role.request(), answer.status, answer.body.clone());
            return Err(Refusal { what, status, body }.into());
        }
        let took = now_us - sent.at_us;
        match sent.role {
            Role::Enqueue => {
                self.enqueued += batch;
                if self.measuring {
                    self.enqueue.record(took, 1);
                }
            }
            Role::Lease => {
                let leases: Leases = serde_json::from_slice(&answer.body).context("reading leases")?;
                self.leased += leases.leases.len() as u64;
                self.ready.extend(leases.leases.into_iter().map(|l| (l.lease, now_us)));
            }
            Role::Complete => {
                self.completed += 1;
                if self.measuring {
                    self.complete.record(took, 1);
                    self.lease_to_complete.record(now_us - sent.leased_us, 1);
                }
            }
        }
        Ok(())
    }
}

struct Run<'a> {
    load: &'a JobLoad,
    poll: Poll,
    crowd: Crowd,
    connections: Vec<(Role, HttpConnection<Sent>)>,
    requests: Requests,
    clock: Ticker,
    counts: Counts,
}

/// Counters at one moment.
struct Mark {
    at_us: u64,
    cycles: u64,
    server_cpu_s: f64,
    own_cpu_s: f64,
    busy_s: f64,
}

impl Mark {
    /// CPU time since `start` of what is no part of the measurement.
    fn others_s(&self, start: &Self) -> f64 {
        let known = self.server_cpu_s - start.server_cpu_s + self.own_cpu_s - start.own_cpu_s;
        (self.busy_s - start.busy_s - known).max(0.0)
    }
}

/// How long jobs that are under way may take to finish at the end.
const DRAIN_US: u64 = 10_000_000;

impl Run<'_> {
    fn run(mut self) -> anyhow::Result<JobReport> {
        self.work_for(self.load.warm_up)?;
        self.counts.measuring = true;
        let start = self.mark()?;
        self.work_for(self.load.measure)?;
        let end = self.mark()?;
        self.counts.measuring = false;
        self.counts.stopping = true;
        self.drain()?;
        let seconds = (end.at_us - start.at_us) as f64 / 1e6;
        let cycles = end.cycles - start.cycles;
        self.check();
        Ok(JobReport {
            enqueue_batch: self.load.enqueue_batch,
            lease_max: self.load.lease_max,
            seconds,
            cycles,
            cycles_per_s: cycles as f64 / seconds,
            cpu_us_per_cycle: (end.server_cpu_s - start.server_cpu_s) * 1e6 / cycles.max(1) as f64,
            generator_load: (end.own_cpu_s - start.own_cpu_s) / seconds,
            others_load: end.others_s(&start) / seconds,
            enqueue: self.counts.enqueue.summary(),
            complete: self.counts.complete.summary(),
            lease_to_complete: self.counts.lease_to_complete.summary(),
            events: self.crowd.subscribers[0].tally.events,
            faults: self.counts.faults,
        })
    }

    fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark {
            at_us: self.clock.now_us(),
            cycles: self.counts.completed,
            server_cpu_s: self.load.processes.cpu_s()?,
            own_cpu_s: Processes::own().cpu_s()?,
            busy_s: machine_busy_s()?,
        })
    }

    fn work_for(&mut self, length: Duration) -> anyhow::Result<()> {
        let until = self.clock.now_us() + length.as_micros() as u64;
        let mut events = Events::with_capacity(256);
        while self.clock.now_us() < until {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    /// Until every job that was enqueued is completed and its three events have come.
    fn drain(&mut self) -> anyhow::Result<()> {
        let until = self.clock.now_us() + DRAIN_US;
        let mut events = Events::with_capacity(256);
        let finished = |run: &Self| {
            let counts = &run.counts;
            counts.enqueued == counts.enqueue_sent
                && counts.completed == counts.enqueued
                && run.crowd.subscribers[0].tally.events >= 3 * counts.completed
        };
        while !finished(self) && self.clock.now_us() < until {
            self.turn(&mut events)?;
        }
        self.crowd_settles()
    }

    fn crowd_settles(&mut self) -> anyhow::Result<()> {
        // A surplus event would come right behind; the workers' long polls are left unanswered.
        let mut events = Events::with_capacity(256);
        let until = self.clock.now_us() + 200_000;
        while self.clock.now_us() < until {
            self.turn(&mut events)?;
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events) -> anyhow::Result<()> {
        self.pump()?;
        let wait = if self.crowd.has_more() { Duration::ZERO } else { Duration::from_millis(20) };
        await_ready(&mut self.poll, events, Some(wait))?;
        for event in &*events {
            let Some(index) = event.token().0.checked_sub(1) else {
                self.crowd.ready(event, Ticker::BASE, None);
                continue;
            };
            let (_, connection) = &mut self.connections[index];
            if event.is_writable() {
                connection.flush()?;
            }
            if event.is_readable() || event.is_read_closed() {
                let now_us = self.clock.now_us();
                let batch = self.load.enqueue_batch as u64;
                connection.receive(|sent, answer| self.counts.answered(sent, &answer, now_us, batch))?;
            }
        }
        self.crowd.reread(Ticker::BASE, None);
        Ok(())
    }

    /// Gives every idle connection what there is to do for it.
    fn pump(&mut self) -> anyhow::Result<()> {
        let now_us = self.clock.now_us();
        let (load, counts) = (self.load, &mut self.counts);
        for (role, connection) in self.connections.iter_mut().filter(|(_, c)| c.in_flight() == 0) {
            let mut sent = Sent { role: *role, at_us: now_us, leased_us: 0 };
            match role {
                Role::Complete => {
                    let Some((lease, leased_us)) = counts.ready.pop_front() else { continue };
                    sent.leased_us = leased_us;
                    let path = format!("/api/v1/leases/{lease}/complete");
                    connection.send(&load.target.post(&path, br#"{"result":{"pages":7}}"#), sent)?;
                }
                // A worker asks again when what it got is nearly used up.
                Role::Lease if counts.ready.len() < load.lease_max && counts.leased < counts.enqueue_sent => {
                    connection.send(&self.requests.lease, sent)?;
                }
                Role::Enqueue
                    if !counts.stopping && counts.enqueue_sent - counts.completed < load.open_max =>
                {
                    counts.enqueue_sent += load.enqueue_batch as u64;
                    connection.send(&self.requests.enqueue, sent)?;
                }
                Role::Lease | Role::Enqueue => {}
            }
        }
        Ok(())
    }

    fn check(&mut self) {
        let subscriber = &self.crowd.subscribers[0];
        let (tally, counts) = (&subscriber.tally, &mut self.counts);
        let (enqueued, leased, completed) = (counts.enqueued, counts.leased, counts.completed);
        if let Some(why) = subscriber.ended() {
            counts.faults.push(format!("the subscriber's stream ended: {why}"));
        }
        if completed != enqueued || leased != enqueued {
            counts
                .faults
                .push(format!("{enqueued} jobs were enqueued, {leased} leased and {completed} completed"));
        }
        if tally.events != 3 * completed {
            counts.faults.push(format!("{} events came for {completed} cycles of three", tally.events));
        }
        if tally.gaps + tally.doubles + tally.disorders > 0 {
            let (gaps, doubles, disorders) = (tally.gaps, tally.doubles, tally.disorders);
            counts.faults.push(format!("seq: {gaps} missing, {doubles} doubled, {disorders} out of order"));
        }
    }
}
