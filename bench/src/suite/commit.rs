use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;
use tidings_core::{
    Clock as _, Epoch, Event, EventBody, EventId, EventType, NewEvent, RawJson, SystemClock, SystemEntropy,
    TenantId,
};
use tidings_store::{
    BatchObserved, Command, CommitSink, Journal, JournalConfig, Operation, SqliteConfig, SqliteStore,
};
use tokio::task::JoinSet;

use super::{Measured, Options, in_turn};
use crate::{
    load::{Latencies, LatencySummary, Processes, crowded, machine_busy_s, message},
    reference::{
        append::Append,
        sqlite::{BareSqlite, Ids},
    },
    report::{Bound, Check, Figure, Outcome, Row, median},
    scratch::Scratch,
};

const BATCHES: [usize; 4] = [1, 8, 64, 512];
const DATA_BYTES: usize = 300;
const OF_BARE: f64 = 0.8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Its callers and its task share so many threads of a tokio runtime; the writer has its own. The
    /// server runs on one per core, so that two decide about the target here.
    Journal {
        threads: usize,
    },
    Bare,
    Append,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Journal { threads: 1 } => "tidings, one runtime thread",
            Self::Journal { .. } => "tidings, two runtime threads",
            Self::Bare => "bare SQLite",
            Self::Append => "append + fdatasync",
        }
    }
}

const CONTENDERS: [Who; 4] =
    [Who::Journal { threads: 2 }, Who::Bare, Who::Journal { threads: 1 }, Who::Append];

#[derive(Debug, Clone, Serialize)]
struct CommitReport {
    batch: usize,
    /// Events in an average transaction.
    batch_measured: f64,
    events_per_s: f64,
    commits_per_s: f64,
    /// Cores that were busy with other programs.
    others_load: f64,
    /// From handing an event (in bare programs: a batch) over until it is durable.
    latency: LatencySummary,
}

impl Measured for CommitReport {
    fn others_load(&self) -> f64 {
        self.others_load
    }

    fn broken(&self) -> bool {
        false
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<Vec<Outcome>> {
    let contenders: Vec<_> =
        BATCHES.into_iter().flat_map(|batch| CONTENDERS.map(|who| (who, batch))).collect();
    let length = Duration::from_millis(if options.quick { 300 } else { 2_000 });
    let name = |(who, batch): (Who, usize)| format!("commit, batches of {batch}, {}", who.name());
    let reports = in_turn(options, &contenders, name, |(who, batch)| {
        let scratch = Scratch::create(&options.folder)?;
        match who {
            Who::Journal { threads } => journal(scratch.path(), threads, batch, length),
            Who::Bare => bare(scratch.path(), batch, length),
            Who::Append => append(scratch.path(), batch, length),
        }
    })?;
    let sizes = BATCHES.into_iter().zip(reports.chunks(CONTENDERS.len()));
    Ok(sizes.map(|(batch, reports)| outcome(batch, reports)).collect())
}

/// Each size has a table of its own: what disturbed another says nothing of it.
fn outcome(batch: usize, reports: &[Vec<CommitReport>]) -> Outcome {
    let pairs = || CONTENDERS.into_iter().zip(reports);
    let each = || pairs().flat_map(|(who, reports)| reports.iter().map(move |report| (who, report)));
    // A disk's speed drifts by more than the two differ: each is compared with the one beside it.
    let ratios = reports[0].iter().zip(&reports[1]).map(|(ours, bare)| ours.events_per_s / bare.events_per_s);
    let what = format!("events/s in batches of {batch} ÷ bare SQLite's of the same round");
    Outcome {
        name: format!("commit: durable publishes of 300 bytes in batches of {batch}"),
        rows: pairs().map(|(who, reports)| row(who, reports)).collect(),
        checks: vec![Check::new(what, median(ratios), Bound::AtLeast(OF_BARE))],
        objections: each()
            .filter_map(|(who, r)| crowded(r.others_load).map(|why| format!("{}: {why}", who.name())))
            .collect(),
        runs: each().map(|(who, r)| serde_json::json!({"who": who.name(), "report": r})).collect(),
    }
}

fn row(who: Who, reports: &[CommitReport]) -> Row {
    let of = |name: &'static str, value: &dyn Fn(&CommitReport) -> f64| Figure {
        name,
        value: Some(median(reports.iter().map(value))),
    };
    Row {
        who: who.name().to_owned(),
        figures: vec![
            of("events/s", &|r| r.events_per_s),
            of("commits/s", &|r| r.commits_per_s),
            of("events/commit", &|r| r.batch_measured),
            of("p50 ms", &|r| r.latency.p50_ms),
            of("p99 ms", &|r| r.latency.p99_ms),
            of("others' load", &|r| r.others_load),
        ],
    }
}

/// Counts what is committed.
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

fn open(folder: &Path) -> anyhow::Result<SqliteStore> {
    let config = SqliteConfig::new(folder);
    SqliteStore::open(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).context("opening the store")
}

fn runtime(threads: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?)
}

fn data() -> RawJson {
    RawJson::from_stored(message::template(DATA_BYTES))
}

/// A publish of one event.
fn publish(tenant: &TenantId, event_type: &EventType, data: &RawJson, id: [u8; 16]) -> Command {
    let event = NewEvent {
        id: EventId::from_bytes(id),
        event_type: event_type.clone(),
        job: None,
        owner: None,
        subject: None,
        body: EventBody::same_for_all(data.clone()),
    };
    let operation = Operation::Publish { events: vec![event], idempotency: None };
    Command::Tenant { tenant: tenant.clone(), create: true, operation }
}

/// How far a run is.
#[derive(Debug, Default)]
struct Phase {
    counts: AtomicBool,
    is_over: AtomicBool,
}

/// Twice `batch` callers, each with one publish at a time: while half of them wait for the disk, the
/// other half gathers.
fn journal(folder: &Path, threads: usize, batch: usize, length: Duration) -> anyhow::Result<CommitReport> {
    runtime(threads)?.block_on(async {
        let store = Arc::new(open(folder)?);
        let counter = Arc::new(Counter::default());
        let config = JournalConfig { batch_max: batch, ..JournalConfig::default() };
        let journal = Journal::start(Arc::clone(&store) as _, Arc::clone(&counter) as _, config);
        let phase = Arc::new(Phase::default());
        let mut callers = JoinSet::new();
        for caller in 0..2 * batch {
            callers.spawn(call(journal.clone(), caller as u64, Arc::clone(&phase)));
        }
        // What the first moments cost once is not counted.
        tokio::time::sleep(length / 5).await;
        phase.counts.store(true, Ordering::Relaxed);
        let mark =
            || Mark::now(counter.commits.load(Ordering::Relaxed), counter.events.load(Ordering::Relaxed));
        let start = mark()?;
        tokio::time::sleep(length).await;
        let end = mark()?;
        phase.is_over.store(true, Ordering::Relaxed);
        let mut all = Latencies::new();
        while let Some(taken_us) = callers.join_next().await {
            taken_us??.into_iter().for_each(|us| all.record(u64::from(us), 1));
        }
        journal.close().await;
        store.close().await;
        Ok(report(batch, &start, &end, &all))
    })
}

async fn call(journal: Journal, caller: u64, phase: Arc<Phase>) -> anyhow::Result<Vec<u32>> {
    let tenant = TenantId::new("bench").context("the name is valid")?;
    let event_type = EventType::published("bench.message").context("the type is valid")?;
    let data = data();
    // Counted when all is over: a thousand histograms would have the processor's caches to themselves.
    let mut taken_us = Vec::with_capacity(1_024);
    let mut n = 0_u64;
    while !phase.is_over.load(Ordering::Relaxed) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        id[8..].copy_from_slice(&caller.to_be_bytes());
        let sent = Instant::now();
        journal.submit(publish(&tenant, &event_type, &data, id)).await.context("publishing")?;
        if phase.counts.load(Ordering::Relaxed) {
            taken_us.push(sent.elapsed().as_micros() as u32);
        }
        n += 1;
    }
    Ok(taken_us)
}

/// Commits until `length` is over, a fifth of it before counting.
fn repeat(
    batch: usize,
    length: Duration,
    mut commit: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<CommitReport> {
    let warm_up = Instant::now();
    while warm_up.elapsed() < length / 5 {
        commit()?;
    }
    let mut latencies = Latencies::new();
    let start = Mark::now(0, 0)?;
    let mut commits = 0;
    while start.at.elapsed() < length {
        let sent = Instant::now();
        commit()?;
        latencies.record(sent.elapsed().as_micros() as u64, 1);
        commits += 1;
    }
    Ok(report(batch, &start, &Mark::now(commits, commits * batch as u64)?, &latencies))
}

fn bare(folder: &Path, batch: usize, length: Duration) -> anyhow::Result<CommitReport> {
    // The store makes its schema and a tenant, and leaves them to the bare program.
    runtime(1)?.block_on(async {
        let store = Arc::new(open(folder)?);
        let journal =
            Journal::start(Arc::clone(&store) as _, Arc::new(Counter::default()), JournalConfig::default());
        let (tenant, event_type) = (TenantId::new("bench")?, EventType::published("bench.first")?);
        journal.submit(publish(&tenant, &event_type, &data(), [0; 16])).await?;
        journal.close().await;
        store.close().await;
        anyhow::Ok(())
    })?;
    let database = database(folder)?;
    let mut sqlite = BareSqlite::open(&database)?;
    let (mut ids, data) = (Ids::default(), data());
    repeat(batch, length, || {
        let now = SystemClock.now().as_micros();
        sqlite.commit(&mut ids, now, data.as_str(), batch).context("committing to bare SQLite")
    })
}

/// The database file in a data folder.
fn database(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let mut head = [0; 16];
        let read = std::fs::File::open(&path).and_then(|mut file| std::io::Read::read(&mut file, &mut head));
        if read.is_ok() && &head == b"SQLite format 3\0" {
            return Ok(path);
        }
    }
    anyhow::bail!("the store left no database in {}", folder.display())
}

fn append(folder: &Path, batch: usize, length: Duration) -> anyhow::Result<CommitReport> {
    let mut append = Append::create(folder)?;
    let record = data();
    repeat(batch, length, || append.commit(record.as_bytes(), batch))
}

/// Counters at one moment.
struct Mark {
    at: Instant,
    commits: u64,
    events: u64,
    /// CPU time of all that is not this process.
    others_s: f64,
}

impl Mark {
    fn now(commits: u64, events: u64) -> anyhow::Result<Self> {
        let others_s = machine_busy_s()? - Processes::own().cpu_s()?;
        Ok(Self { at: Instant::now(), commits, events, others_s })
    }
}

fn report(batch: usize, start: &Mark, end: &Mark, latencies: &Latencies) -> CommitReport {
    let seconds = (end.at - start.at).as_secs_f64();
    let (commits, events) = (end.commits - start.commits, end.events - start.events);
    CommitReport {
        batch,
        batch_measured: events as f64 / commits.max(1) as f64,
        events_per_s: events as f64 / seconds,
        commits_per_s: commits as f64 / seconds,
        others_load: (end.others_s - start.others_s).max(0.0) / seconds,
        latency: latencies.summary(),
    }
}
