//! The benchmarks themselves: each runs Tidings and its references in turn within every round, so that
//! a drift of the machine meets all of them, and compares medians.

mod cluster;
mod commit;
mod fairness;
mod fanout;
mod idle;
mod jobs;
mod paced;
mod postgres;
mod postgres_jobs;
mod webhooks;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    child::Child,
    load::{OTHERS_MAX, Processes, Target, machine_busy_s},
    reference::{bare::Writes, nchan::Nchan},
    report::Outcome,
    scratch::Scratch,
    subject::Subject,
};

/// What all benchmarks need to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `tidings` program.
    pub server: PathBuf,
    /// Where data folders are made: it decides the disk.
    pub folder: PathBuf,
    pub rounds: usize,
    /// Where `graphile-worker` is installed: a `node_modules`.
    pub graphile: PathBuf,
    /// How long a run waits for a quiet machine before it starts all the same.
    pub patience: Duration,
    /// How many deliveries wait in `webhook-backlog`.
    pub backlog: u64,
    /// Shorter and smaller, to see that everything works; the targets are not judged by it.
    pub quick: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Benchmark {
    /// Durable commits by batch size, against bare SQLite and bare fsync.
    Commit,
    /// 1,000 subscribers saturated by 16 publishes in flight, against nchan and bare servers.
    Fanout,
    /// 1,000 subscribers at 100 events a second, against bare servers.
    Paced,
    /// Memory of 10,000 idle WebSocket connections.
    Idle,
    /// Whole job cycles: enqueue, lease, complete.
    Jobs,
    /// Durable publishes on PostgreSQL, against pgbench inserting the same.
    Postgres,
    /// Whole job cycles on PostgreSQL, against graphile-worker.
    PostgresJobs,
    /// What a hop over Redis adds, and fan-out on a node that hears everything that way.
    Bus,
    /// Webhooks on both stores, against a bare HTTP client.
    Webhooks,
    /// The memory of webhooks that wait, and how long delivering them takes.
    WebhookBacklog,
    /// One tenant's latencies alone and beside another tenant's flood, on both stores.
    Fairness,
    All,
}

impl Benchmark {
    /// The single benchmarks that it stands for.
    pub fn each(self) -> Vec<Self> {
        match self {
            Self::All => {
                let embedded = [Self::Commit, Self::Fanout, Self::Paced, Self::Idle, Self::Jobs];
                embedded
                    .into_iter()
                    .chain([
                        Self::Postgres,
                        Self::PostgresJobs,
                        Self::Bus,
                        Self::Webhooks,
                        Self::WebhookBacklog,
                        Self::Fairness,
                    ])
                    .collect()
            }
            one => vec![one],
        }
    }

    pub fn run(self, options: &Options) -> anyhow::Result<Vec<Outcome>> {
        match self {
            Self::Commit => commit::run(options),
            Self::Fanout => fanout::run(options),
            Self::Paced => paced::run(options),
            Self::Idle => idle::run(options).map(|o| vec![o]),
            Self::Jobs => jobs::run(options).map(|o| vec![o]),
            Self::Postgres => postgres::run(options).map(|o| vec![o]),
            Self::PostgresJobs => postgres_jobs::run(options).map(|o| vec![o]),
            Self::Bus => cluster::run(options),
            Self::Webhooks => webhooks::run(options).map(|o| vec![o]),
            Self::WebhookBacklog => webhooks::backlogs(options).map(|o| vec![o]),
            Self::Fairness => fairness::run(options),
            Self::All => {
                let mut outcomes = Vec::new();
                for one in self.each() {
                    outcomes.extend(one.run(options)?);
                }
                Ok(outcomes)
            }
        }
    }
}

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Tidings,
    Bare(Writes),
    Nchan { workers: usize },
}

impl Contender {
    fn name(self) -> String {
        match self {
            Self::Tidings => "tidings".to_owned(),
            Self::Bare(Writes::PerMessage) => "bare, a write per message".to_owned(),
            Self::Bare(Writes::Coalesced) => "bare, coalescing".to_owned(),
            Self::Nchan { workers: 1 } => "nchan, one worker".to_owned(),
            Self::Nchan { workers } => format!("nchan, {workers} workers"),
        }
    }

    fn start(self, options: &Options) -> anyhow::Result<Running> {
        let scratch = Scratch::create(&options.folder)?;
        let folder = scratch.path();
        let (server, target, processes) = match self {
            Self::Tidings => {
                let subject = Subject::start(&options.server, folder, &[])?;
                let (target, processes) = (subject.target.clone(), subject.processes());
                (Server::Tidings(subject), target, processes)
            }
            Self::Bare(writes) => {
                let (child, target) = start_bare(writes)?;
                let processes = Processes::of(vec![child.pid()]);
                (Server::Bare(child), target, processes)
            }
            Self::Nchan { workers } => {
                let nchan = Nchan::start(folder, workers)?;
                let (target, processes) = (Target::plain(nchan.addr), nchan.processes()?);
                (Server::Nchan(nchan), target, processes)
            }
        };
        Ok(Running { _server: server, target, processes, _scratch: scratch })
    }
}

/// A server under load; it ends when this is dropped, and then its folder goes.
struct Running {
    _server: Server,
    target: Target,
    processes: Processes,
    _scratch: Scratch,
}

#[allow(dead_code, reason = "kept for their drop")]
enum Server {
    Tidings(Subject),
    Bare(Child),
    Nchan(Nchan),
}

/// Starts this very program as a bare server.
fn start_bare(writes: Writes) -> anyhow::Result<(Child, Target)> {
    use std::io::BufRead as _;
    let program = std::env::current_exe().context("finding this program")?;
    let mode = if writes == Writes::Coalesced { "coalesced" } else { "per-message" };
    let (child, out) = Child::piped(std::process::Command::new(program).args(["bare", mode]))?;
    let mut line = String::new();
    std::io::BufReader::new(out).read_line(&mut line)?;
    let addr = line.trim().parse().with_context(|| format!("the bare server said {line:?}"))?;
    Ok((child, Target::plain(addr)))
}

/// What a report says of the machine it was made on.
trait Measured {
    /// Cores that were busy with what is no part of the measurement.
    fn others_load(&self) -> f64;

    /// Whether it saw a promise broken. Such a report is kept however crowded the machine was.
    fn broken(&self) -> bool;
}

/// Whether a report is dropped and its run repeated.
fn is_to_be_repeated(report: &impl Measured) -> bool {
    report.others_load() > OTHERS_MAX && !report.broken()
}

/// How often a run is repeated because others crowded it, before its figures are kept with an objection.
/// Nothing but the foreign load decides: a run is never repeated for its result.
const REPEATS_MAX: usize = 4;

/// Runs every contender once in each round; returns each one's reports in the order of `contenders`.
fn in_turn<C: Copy, R: Measured>(
    options: &Options,
    contenders: &[C],
    name: impl Fn(C) -> String,
    run: impl Fn(C) -> anyhow::Result<R>,
) -> anyhow::Result<Vec<Vec<R>>> {
    let mut reports: Vec<Vec<R>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (contender, reports) in contenders.iter().zip(&mut reports) {
            eprintln!("round {round} of {}: {}", options.rounds, name(*contender));
            let repeats_max = if options.quick { 0 } else { REPEATS_MAX };
            for repeat in 0..=repeats_max {
                if !options.quick {
                    await_quiet(options.patience)?;
                }
                let report = run(*contender).with_context(|| name(*contender))?;
                if repeat == repeats_max || !is_to_be_repeated(&report) {
                    reports.push(report);
                    break;
                }
                eprintln!("  others used {:.2} cores meanwhile: once more", report.others_load());
            }
        }
    }
    Ok(reports)
}

/// Waits until the machine has nothing else to do, but no longer than `patience`.
fn await_quiet(patience: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let (start, before) = (Instant::now(), machine_busy_s()?);
        std::thread::park_timeout(Duration::from_secs(1));
        let load = (machine_busy_s()? - before) / start.elapsed().as_secs_f64();
        if load <= OTHERS_MAX / 2.0 || Instant::now() > deadline {
            return Ok(());
        }
    }
}

/// Whether `path` is a program that can be started.
pub fn check_server(path: &Path) -> anyhow::Result<()> {
    if path.is_file() {
        return Ok(());
    }
    anyhow::bail!("{} is missing: cargo build --release -p tidings-cli", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Report(f64, bool);

    impl Measured for Report {
        fn others_load(&self) -> f64 {
            self.0
        }

        fn broken(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn a_crowded_run_is_repeated_unless_it_saw_a_promise_broken() {
        assert!(is_to_be_repeated(&Report(1.0, false)));
        assert!(!is_to_be_repeated(&Report(1.0, true)), "a fault is never dropped");
        assert!(!is_to_be_repeated(&Report(0.0, false)));
    }
}
