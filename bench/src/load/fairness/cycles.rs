use std::{sync::atomic::Ordering, time::Duration};

use anyhow::Context as _;
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;

use super::Signals;
use crate::load::{
    await_ready,
    clock::Ticker,
    crowd::connect,
    http::{Answer, HttpConnection},
    latency::Latencies,
    target::Target,
};

/// Jobs that one connection enqueues, leases and completes, one after another and each when it is due.
#[derive(Debug)]
pub(super) struct Cycles {
    pub(super) latencies: Latencies,
    pub(super) refused: u64,
    pub(super) first: Option<String>,
}

#[derive(Deserialize)]
struct Leases {
    leases: Vec<Lease>,
}

#[derive(Deserialize)]
struct Lease {
    lease: String,
}

const JOB: &[u8] = br#"{"type":"bench","payload":{"page":7}}"#;
const LEASE: &[u8] = br#"{"worker":"bench","types":["bench"],"max":1,"wait_s":5}"#;

pub(super) fn run(
    target: &Target,
    per_second: f64,
    clock: Ticker,
    signals: &Signals,
) -> anyhow::Result<Cycles> {
    let mut line = Line::connect(target)?;
    let mut cycles = Cycles { latencies: Latencies::new(), refused: 0, first: None };
    let start_us = clock.now_us();
    for n in 0_u64.. {
        let due_us = start_us + (n as f64 * 1e6 / per_second) as u64;
        while clock.now_us() < due_us && !signals.ended.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_micros(
                (due_us - clock.now_us().min(due_us)).min(20_000),
            ));
        }
        if signals.ended.load(Ordering::Acquire) {
            break;
        }
        match line.cycle(target)? {
            None if signals.measuring.load(Ordering::Acquire) => {
                cycles.latencies.record(clock.now_us() - due_us, 1);
            }
            None => {}
            Some(answer) => {
                cycles.refused += 1;
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                cycles.first.get_or_insert(format!("a job was answered {} {body}", answer.status));
            }
        }
    }
    Ok(cycles)
}

/// One connection that waits for each answer.
struct Line {
    poll: Poll,
    connection: HttpConnection<()>,
}

impl Line {
    fn connect(target: &Target) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut stream = connect(target).context("connecting a worker")?;
        poll.registry().register(&mut stream, Token(0), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { poll, connection: HttpConnection::new(stream) })
    }

    /// An answer is what was refused.
    fn cycle(&mut self, target: &Target) -> anyhow::Result<Option<Answer>> {
        let enqueued = self.ask(&target.post("/api/v1/jobs", JOB))?;
        if enqueued.status != 201 {
            return Ok(Some(enqueued));
        }
        let leased = self.ask(&target.post("/api/v1/leases", LEASE))?;
        let lease = serde_json::from_slice::<Leases>(&leased.body).ok().and_then(|mut all| all.leases.pop());
        let Some(Lease { lease }) = lease else { return Ok(Some(leased)) };
        let path = format!("/api/v1/leases/{lease}/complete");
        let completed = self.ask(&target.post(&path, br#"{"result":{"pages":7}}"#))?;
        Ok((!(200..300).contains(&completed.status)).then_some(completed))
    }

    fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.connection.send(request, ())?;
        let mut events = Events::with_capacity(4);
        let mut came = None;
        while came.is_none() {
            await_ready(&mut self.poll, &mut events, None)?;
            for event in &events {
                if event.is_writable() {
                    self.connection.flush()?;
                }
                if event.is_readable() || event.is_read_closed() {
                    self.connection.receive(|(), answer| {
                        came = Some(answer);
                        Ok(())
                    })?;
                }
            }
        }
        came.context("an answer came")
    }
}
