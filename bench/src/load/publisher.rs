use std::time::Duration;

use anyhow::Context as _;
use mio::{Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use super::{
    clock::Ticker,
    crowd::connect,
    http::{Answer, HttpConnection, Refusal},
    latency::Latencies,
    message::{self, Stamp},
    target::Target,
};

/// How fast is published.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As fast as acknowledgements come, with so many publishes unacknowledged.
    Saturated { in_flight: usize },
    /// So many a second on a schedule that does not wait for anything: a message's latency counts from
    /// the moment at which it was due.
    Paced { per_second: f64 },
}

/// Publishes that one turn of the loop sends when it is behind its schedule.
const BURST_MAX: usize = 64;

/// Connections that publish; their tokens start at `first_token`.
#[derive(Debug)]
pub(crate) struct Publishers {
    connections: Vec<HttpConnection<u64>>,
    first_token: usize,
    template: Vec<u8>,
    pace: Pace,
    schedule: Option<Schedule>,
    /// Connections below this one are busy; where to look first.
    next: usize,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) refusal: Option<Refusal>,
}

#[derive(Debug, Clone, Copy)]
struct Schedule {
    start_us: u64,
    interval_us: f64,
    slots: u64,
}

impl Schedule {
    fn due_us(&self) -> u64 {
        self.start_us + (self.slots as f64 * self.interval_us) as u64
    }
}

impl Publishers {
    /// Each connection carries `in_flight / connections` publishes at a time.
    pub(crate) fn connect(
        poll: &Poll,
        target: &Target,
        pace: Pace,
        connections: usize,
        message_bytes: usize,
        first_token: usize,
    ) -> anyhow::Result<Self> {
        let mut all = Vec::with_capacity(connections);
        for i in 0..connections {
            let mut stream = connect(target).context("connecting a publisher")?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(first_token + i), interest)?;
            all.push(HttpConnection::new(stream));
        }
        Ok(Self {
            connections: all,
            first_token,
            template: target.publish(&message::template(message_bytes)),
            pace,
            schedule: None,
            next: 0,
            sent: 0,
            acknowledged: 0,
            refused: 0,
            refusal: None,
        })
    }

    pub(crate) fn unanswered(&self) -> u64 {
        self.sent - self.acknowledged - self.refused
    }

    /// The first refusal, as the error of a load that is refused altogether.
    pub(crate) fn failure(&self) -> anyhow::Error {
        self.refusal.clone().map_or_else(|| anyhow::anyhow!("publishing fails"), anyhow::Error::from)
    }

    /// Sends what is due. `held` stops a saturating publisher for as long as subscribers are too far behind.
    pub(crate) fn pump(&mut self, clock: Ticker, held: bool) -> anyhow::Result<()> {
        match self.pace {
            Pace::Saturated { in_flight } => {
                while !held && self.unanswered() < in_flight as u64 {
                    self.send(clock.now_us())?;
                }
            }
            Pace::Paced { per_second } => {
                let now_us = clock.now_us();
                let interval_us = 1e6 / per_second;
                let mut schedule =
                    self.schedule.unwrap_or(Schedule { start_us: now_us, interval_us, slots: 0 });
                // Bounded, so that a schedule that cannot be kept starves nobody: the report shows it.
                for _ in 0..BURST_MAX {
                    if schedule.due_us() > now_us {
                        break;
                    }
                    self.send(schedule.due_us())?;
                    schedule.slots += 1;
                }
                self.schedule = Some(schedule);
            }
        }
        Ok(())
    }

    /// How long the loop may wait before something is due; whole milliseconds, rounded down.
    pub(crate) fn wait(&self, now_us: u64) -> Duration {
        match &self.schedule {
            Some(schedule) => Duration::from_millis(schedule.due_us().saturating_sub(now_us) / 1_000),
            None => Duration::from_millis(20),
        }
    }

    fn send(&mut self, at_us: u64) -> anyhow::Result<()> {
        message::patch(&mut self.template, Stamp { at_us, n: self.sent });
        self.sent += 1;
        let count = self.connections.len();
        // The least loaded one; the search starts behind the last, so that all take turns.
        let chosen =
            (0..count).map(|i| (self.next + i) % count).min_by_key(|i| self.connections[*i].in_flight());
        let chosen = chosen.context("there is a connection to publish on")?;
        self.next = chosen + 1;
        self.connections[chosen].send(&self.template, at_us).context("publishing")
    }

    /// Handles what poll says of one of these sockets.
    pub(crate) fn ready(
        &mut self,
        event: &mio::event::Event,
        now_us: u64,
        mut latencies: Option<&mut Latencies>,
    ) -> anyhow::Result<()> {
        let connection = &mut self.connections[event.token().0 - self.first_token];
        if event.is_writable() {
            connection.flush().context("publishing")?;
        }
        if !event.is_readable() && !event.is_read_closed() {
            return Ok(());
        }
        let (acknowledged, refused, refusal) = (&mut self.acknowledged, &mut self.refused, &mut self.refusal);
        connection.receive(|sent_us, answer: Answer| {
            if (200..300).contains(&answer.status) {
                *acknowledged += 1;
            } else {
                *refused += 1;
                refusal.get_or_insert(Refusal {
                    what: "a publish",
                    status: answer.status,
                    body: answer.body,
                });
            }
            if let Some(latencies) = &mut latencies {
                latencies.record(now_us.saturating_sub(sent_us), 1);
            }
            Ok(())
        })
    }
}
