//! Whole job cycles on PostgreSQL, against graphile-worker on the same server.

use std::time::{Duration, Instant};

use serde::Serialize;
use tidings_testkit::Postgres;

use super::{Measured, Options, in_turn};
use crate::{
    load::{JobLoad, JobReport, Processes, crowded, jobs, machine_busy_s},
    reference::graphile::Graphile,
    report::{Bound, Check, Figure, Outcome, Row, median},
    scratch::Scratch,
    subject::{Shared, Subject},
};

const OVER_GRAPHILE: f64 = 2.0;
const ARRAY: usize = 50;
const LOCAL_QUEUE: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Tidings { batch: usize },
    Graphile { batch: usize, local_queue: usize },
}

const CONTENDERS: [Who; 6] = [
    Who::Tidings { batch: 1 },
    Who::Graphile { batch: 1, local_queue: 0 },
    Who::Graphile { batch: 1, local_queue: LOCAL_QUEUE },
    Who::Tidings { batch: ARRAY },
    Who::Graphile { batch: ARRAY, local_queue: 0 },
    Who::Graphile { batch: ARRAY, local_queue: LOCAL_QUEUE },
];

impl Who {
    fn name(self) -> String {
        let (who, batch) = match self {
            Self::Tidings { batch } => ("tidings", batch),
            Self::Graphile { batch, local_queue: 0 } => ("graphile-worker", batch),
            Self::Graphile { batch, .. } => ("graphile-worker, local queue and batched completion", batch),
        };
        match batch {
            1 => format!("{who}, enqueued one by one"),
            many => format!("{who}, enqueued {many} at a time"),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct Report {
    cycles_per_s: f64,
    /// Of the server, or of both of graphile-worker's processes, and of PostgreSQL.
    cpu_us_per_cycle: f64,
    others_load: f64,
    /// What broke.
    fault: Option<String>,
}

impl Measured for Report {
    fn others_load(&self) -> f64 {
        self.others_load
    }

    fn broken(&self) -> bool {
        self.fault.is_some()
    }
}

impl From<JobReport> for Report {
    fn from(report: JobReport) -> Self {
        Self {
            cycles_per_s: report.cycles_per_s,
            cpu_us_per_cycle: report.cpu_us_per_cycle,
            others_load: report.others_load,
            fault: report.faults.into_iter().next(),
        }
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let length = Duration::from_secs(if options.quick { 1 } else { 6 });
    let name = |who: Who| format!("jobs on PostgreSQL, {}", who.name());
    let reports = in_turn(options, &CONTENDERS, name, |who| {
        let postgres = Postgres::start();
        let scratch = Scratch::create(&options.folder)?;
        let url = postgres.database("jobs");
        match who {
            Who::Tidings { batch } => {
                let shared = Shared { store: Some(url), redis: None };
                let subject = Subject::start_on(&shared, &options.server, scratch.path(), &[])?;
                let processes = subject.processes().with_tree(postgres.pid());
                let mut load = JobLoad::one_by_one(subject.target.clone(), processes, length);
                if batch > 1 {
                    (load.enqueue_batch, load.enqueuers) = (batch, 2);
                }
                jobs(&load).map(Report::from)
            }
            Who::Graphile { batch, local_queue } => {
                let started =
                    Graphile::start(&url, scratch.path(), &options.graphile, length, (batch, local_queue))?;
                graphile(started, &postgres)
            }
        }
    })?;
    let rate = |index: usize| median(reports[index].iter().map(|r| r.cycles_per_s));
    let ratio = |ours: usize| rate(ours) / rate(ours + 1).max(rate(ours + 2));
    let pairs = || CONTENDERS.iter().zip(&reports);
    Ok(Outcome {
        name: "postgres-jobs: whole cycles (enqueue, claim, complete) on PostgreSQL".to_owned(),
        rows: pairs().map(|(who, reports)| row(*who, reports)).collect(),
        checks: vec![
            Check::new(
                "cycles/s, enqueued one by one ÷ the better graphile-worker's",
                ratio(0),
                Bound::AtLeast(OVER_GRAPHILE),
            ),
            Check::new(
                format!("cycles/s, enqueued {ARRAY} at a time ÷ the better graphile-worker's"),
                ratio(3),
                Bound::AtLeast(OVER_GRAPHILE),
            ),
        ],
        objections: pairs()
            .flat_map(|(who, reports)| reports.iter().map(move |r| (who, r)))
            .filter_map(|(who, r)| {
                let why = r.fault.clone().or_else(|| crowded(r.others_load))?;
                Some(format!("{}: {why}", who.name()))
            })
            .collect(),
        runs: pairs()
            .flat_map(|(who, reports)| {
                reports.iter().map(|r| serde_json::json!({"who": who.name(), "report": r}))
            })
            .collect(),
    })
}

fn graphile(mut started: Graphile, postgres: &Postgres) -> anyhow::Result<Report> {
    let processes = Processes::default().with_tree(started.pid()).with_tree(postgres.pid());
    let mark = || anyhow::Ok((Instant::now(), processes.cpu_s()?, machine_busy_s()?));
    let start = mark()?;
    let cycles = started.measured()?;
    let end = mark()?;
    let fault = started.finish().err().map(|error| error.to_string());
    let (seconds, cpu_s) = ((end.0 - start.0).as_secs_f64(), end.1 - start.1);
    Ok(Report {
        cycles_per_s: cycles as f64 / seconds,
        cpu_us_per_cycle: cpu_s * 1e6 / cycles.max(1) as f64,
        others_load: (end.2 - start.2 - cpu_s).max(0.0) / seconds,
        fault,
    })
}

fn row(who: Who, reports: &[Report]) -> Row {
    let of = |name: &'static str, value: &dyn Fn(&Report) -> f64| Figure {
        name,
        value: Some(median(reports.iter().map(value))),
    };
    Row {
        who: who.name(),
        figures: vec![
            of("cycles/s", &|r| r.cycles_per_s),
            of("CPU µs/cycle", &|r| r.cpu_us_per_cycle),
            of("others' load", &|r| r.others_load),
        ],
    }
}
