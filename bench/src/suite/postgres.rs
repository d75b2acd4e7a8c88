//! Durable publishes on PostgreSQL, against `pgbench` inserting the same rows in the same batches.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;
use tidings_core::{Epoch, Event, EventBody, EventId, EventType, NewEvent, RawJson, SystemEntropy, TenantId};
use tidings_store::{
    BatchObserved, Command, CommitSink, Journal, JournalConfig, Operation, PostgresConfig, PostgresStore,
};
use tidings_testkit::Postgres;
use tokio::task::JoinSet;

use super::{Measured, Options, in_turn};
use crate::{
    load::{Latencies, LatencySummary, ProcessTree, Processes, crowded, machine_busy_s, message},
    reference::pgbench::{self, Pgbench, Rows},
    report::{Bound, Check, Figure, Outcome, Row, median},
    scratch::Scratch,
};

/// What of `pgbench`'s events for each second of CPU time the store has to reach.
const OF_BARE: f64 = 0.7;
const DATA_BYTES: usize = 300;
const BATCHES: [usize; 2] = [64, 512];
/// Writers at once: lanes here, connections there.
const WRITERS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Journal,
    Pgbench(Rows),
}

const CONTENDERS: [Who; 3] = [Who::Journal, Who::Pgbench(Rows::Sent), Who::Pgbench(Rows::MadeThere)];

impl Who {
    const fn name(self) -> &'static str {
        match self {
            Self::Journal => "tidings",
            Self::Pgbench(Rows::Sent) => "pgbench, rows sent to the server",
            Self::Pgbench(Rows::MadeThere) => "pgbench, rows made by the server",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct Report {
    batch: usize,
    batch_measured: f64,
    events_per_s: f64,
    /// CPU of both sides: the client's process and all of PostgreSQL's.
    cpu_us_per_event: f64,
    others_load: f64,
    latency: Option<LatencySummary>,
}

impl Measured for Report {
    fn others_load(&self) -> f64 {
        self.others_load
    }

    fn broken(&self) -> bool {
        false
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let contenders: Vec<_> =
        BATCHES.into_iter().flat_map(|batch| CONTENDERS.map(|who| (who, batch))).collect();
    let length = Duration::from_secs(if options.quick { 1 } else { 5 });
    let name =
        |(who, batch): (Who, usize)| format!("publishing on PostgreSQL, batches of {batch}, {}", who.name());
    let reports = in_turn(options, &contenders, name, |(who, batch)| {
        let server = Postgres::start();
        match who {
            Who::Journal => journal(&server, batch, length),
            Who::Pgbench(rows) => {
                let scratch = Scratch::create(&options.folder)?;
                pgbench(&server, scratch.path(), rows, batch, length)
            }
        }
    })?;
    let cost = |index: usize| median(reports[index].iter().map(|r| r.cpu_us_per_event));
    let checks = BATCHES.iter().enumerate().map(|(i, batch)| {
        let what =
            format!("events per CPU-second in batches of {batch} ÷ pgbench's, which sends its rows as well");
        Check::new(what, cost(CONTENDERS.len() * i + 1) / cost(CONTENDERS.len() * i), Bound::AtLeast(OF_BARE))
    });
    let pairs = || contenders.iter().zip(&reports);
    Ok(Outcome {
        name: "postgres: durable publishes of 300 bytes by batch size".to_owned(),
        rows: pairs().map(|((who, batch), reports)| row(*who, *batch, reports)).collect(),
        checks: checks.collect(),
        objections: pairs()
            .flat_map(|((who, batch), reports)| reports.iter().map(move |r| (who, batch, r)))
            .filter_map(|(who, batch, r)| {
                crowded(r.others_load).map(|why| format!("{batch}: {}: {why}", who.name()))
            })
            .collect(),
        runs: pairs()
            .flat_map(|((who, _), reports)| {
                reports.iter().map(|r| serde_json::json!({"who": who.name(), "report": r}))
            })
            .collect(),
    })
}

fn row(who: Who, batch: usize, reports: &[Report]) -> Row {
    let of = |name: &'static str, value: &dyn Fn(&Report) -> f64| Figure {
        name,
        value: Some(median(reports.iter().map(value))),
    };
    let latency = |name: &'static str, value: &dyn Fn(&LatencySummary) -> f64| Figure {
        name,
        value: reports
            .iter()
            .all(|r| r.latency.is_some())
            .then(|| median(reports.iter().filter_map(|r| r.latency.as_ref()).map(value))),
    };
    Row {
        who: format!("{batch}: {}", who.name()),
        figures: vec![
            of("events/s", &|r| r.events_per_s),
            of("CPU µs/event", &|r| r.cpu_us_per_event),
            of("events/commit", &|r| r.batch_measured),
            latency("p50 ms", &|l| l.p50_ms),
            latency("p99 ms", &|l| l.p99_ms),
            of("others' load", &|r| r.others_load),
        ],
    }
}

/// Counters at one moment.
struct Mark {
    at: Instant,
    events: u64,
    commits: u64,
    cpu_s: f64,
    busy_s: f64,
}

fn report(batch: usize, start: &Mark, end: &Mark, latency: Option<LatencySummary>) -> Report {
    let (seconds, cpu) = ((end.at - start.at).as_secs_f64(), end.cpu_s - start.cpu_s);
    let (events, commits) = (end.events - start.events, end.commits - start.commits);
    Report {
        batch,
        batch_measured: events as f64 / commits.max(1) as f64,
        events_per_s: events as f64 / seconds,
        cpu_us_per_event: cpu * 1e6 / events.max(1) as f64,
        others_load: (end.busy_s - start.busy_s - cpu).max(0.0) / seconds,
        latency,
    }
}

#[derive(Debug, Default)]
struct Counter {
    commits: AtomicU64,
    events: AtomicU64,
}

impl CommitSink for Counter {
    fn committed(&self, _: &[Arc<Event>], _: &[(TenantId, Epoch)]) {}

    fn batch_observed(&self, batch: BatchObserved) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(batch.events as u64, Ordering::Relaxed);
    }
}

/// Three batches of callers for each lane, each with one publish at a time: one is on its way, and the next is full also in a
/// lane that has fewer of the tenants than others.
fn journal(server: &Postgres, batch: usize, length: Duration) -> anyhow::Result<Report> {
    const TENANTS: usize = pgbench::TENANTS * WRITERS;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let config = PostgresConfig { lanes: WRITERS, ..PostgresConfig::new(server.fresh_database()) };
        let store = Arc::new(PostgresStore::open(config, Arc::new(SystemEntropy)).await?);
        let counter = Arc::new(Counter::default());
        let bounds = JournalConfig { batch_max: batch, ..JournalConfig::default() };
        let journal = Journal::start(Arc::clone(&store) as _, Arc::clone(&counter) as _, bounds);
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for caller in 0..3 * batch * WRITERS {
            let tenant = TenantId::new(format!("bench-{}", caller % TENANTS))?;
            callers.spawn(call(journal.clone(), tenant, caller as u64, Arc::clone(&stop)));
        }
        let (tree, own) = (ProcessTree(server.pid()), Processes::own());
        let mark = || -> anyhow::Result<Mark> {
            Ok(Mark {
                at: Instant::now(),
                events: counter.events.load(Ordering::Relaxed),
                commits: counter.commits.load(Ordering::Relaxed),
                cpu_s: tree.cpu_s()? + own.cpu_s()?,
                busy_s: machine_busy_s()?,
            })
        };
        // Connecting and making the tenants is not counted.
        tokio::time::sleep(length / 5).await;
        let start = mark()?;
        tokio::time::sleep(length).await;
        let end = mark()?;
        stop.store(true, Ordering::Relaxed);
        let mut all = Latencies::new();
        while let Some(taken_us) = callers.join_next().await {
            taken_us??.into_iter().for_each(|us| all.record(u64::from(us), 1));
        }
        journal.close().await;
        store.close();
        Ok(report(batch, &start, &end, Some(all.summary())))
    })
}

async fn call(
    journal: Journal,
    tenant: TenantId,
    caller: u64,
    stop: Arc<AtomicBool>,
) -> anyhow::Result<Vec<u32>> {
    let event_type = EventType::published("bench.message").context("the type is valid")?;
    let data = RawJson::from_stored(message::template(DATA_BYTES));
    // Counted when all is over: a thousand histograms would have the processor's caches to themselves.
    let mut taken_us = Vec::with_capacity(1_024);
    let mut n = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        id[8..].copy_from_slice(&caller.to_be_bytes());
        let event = NewEvent {
            id: EventId::from_bytes(id),
            event_type: event_type.clone(),
            job: None,
            owner: None,
            subject: None,
            body: EventBody::same_for_all(data.clone()),
        };
        let operation = Operation::Publish { events: vec![event], idempotency: None };
        let sent = Instant::now();
        let command = Command::Tenant { tenant: tenant.clone(), create: true, operation };
        journal.submit(command).await.context("publishing")?;
        taken_us.push(sent.elapsed().as_micros() as u32);
        n += 1;
    }
    Ok(taken_us)
}

fn pgbench(
    server: &Postgres,
    folder: &std::path::Path,
    rows: Rows,
    batch: usize,
    length: Duration,
) -> anyhow::Result<Report> {
    let url = server.database("bare");
    server.psql("bare", pgbench::SCHEMA);
    let whole = length + length / 5 + Duration::from_secs(2);
    let bench = Pgbench::start(&url, folder, rows, batch, WRITERS, DATA_BYTES, whole)?;
    let (tree, client) = (ProcessTree(server.pid()), ProcessTree(bench.pid()));
    let mark = || -> anyhow::Result<Mark> {
        let events: u64 =
            server.psql("bare", "SELECT sum(head)::bigint FROM bare_counters").trim().parse()?;
        Ok(Mark {
            at: Instant::now(),
            events,
            commits: events / batch as u64,
            cpu_s: tree.cpu_s()? + client.cpu_s()?,
            busy_s: machine_busy_s()?,
        })
    };
    std::thread::park_timeout(length / 5 + Duration::from_millis(500));
    let start = mark()?;
    std::thread::park_timeout(length);
    let end = mark()?;
    bench.finish()?;
    Ok(report(batch, &start, &end, None))
}
