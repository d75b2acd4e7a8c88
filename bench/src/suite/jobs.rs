use std::time::Duration;

use super::{Contender, Measured, Options, in_turn};
use crate::{
    load::{JobLoad, JobReport, jobs},
    report::{Bound, Check, Figure, Outcome, Row, median},
};

const CYCLES_MIN: f64 = 5_000.0;

/// How jobs are enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enqueue {
    OneByOne,
    Arrays,
}

const ARRAY: usize = 50;
const KINDS: [Enqueue; 2] = [Enqueue::OneByOne, Enqueue::Arrays];

impl Enqueue {
    fn name(self) -> String {
        match self {
            Self::OneByOne => "tidings, a request per job".to_owned(),
            Self::Arrays => format!("tidings, enqueued {ARRAY} at a time"),
        }
    }
}

impl Measured for JobReport {
    fn others_load(&self) -> f64 {
        self.others_load
    }

    fn broken(&self) -> bool {
        !self.faults.is_empty()
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let measure = Duration::from_secs(if options.quick { 1 } else { 8 });
    let reports = in_turn(options, &KINDS, Enqueue::name, |kind| {
        let running = Contender::Tidings.start(options)?;
        let mut load = JobLoad::one_by_one(running.target.clone(), running.processes.clone(), measure);
        if kind == Enqueue::Arrays {
            (load.enqueue_batch, load.enqueuers) = (ARRAY, 2);
        }
        jobs(&load)
    })?;
    let measured = median(reports[0].iter().map(|r| r.cycles_per_s));
    let pairs = || KINDS.iter().zip(&reports);
    Ok(Outcome {
        name: "jobs: whole cycles (enqueue, lease, complete) with three durable events each, one live subscriber"
            .to_owned(),
        rows: pairs().map(|(kind, reports)| row(*kind, reports)).collect(),
        checks: vec![Check::new(
            "cycles/s, a request per enqueue and per completion",
            measured,
            Bound::AtLeast(CYCLES_MIN),
        )],
        objections: pairs()
            .flat_map(|(k, reports)| {
                reports.iter().filter_map(|r| r.objection().map(|why| format!("{}: {why}", k.name())))
            })
            .collect(),
        runs: pairs()
            .flat_map(|(k, reports)| {
                reports.iter().map(|r| serde_json::json!({"who": k.name(), "report": r}))
            })
            .collect(),
    })
}

fn row(kind: Enqueue, reports: &[JobReport]) -> Row {
    let of = |name: &'static str, value: &dyn Fn(&JobReport) -> f64| Figure {
        name,
        value: Some(median(reports.iter().map(value))),
    };
    Row {
        who: kind.name(),
        figures: vec![
            of("cycles/s", &|r| r.cycles_per_s),
            of("CPU µs/cycle", &|r| r.cpu_us_per_cycle),
            of("enqueue p50 ms", &|r| r.enqueue.p50_ms),
            of("enqueue p99 ms", &|r| r.enqueue.p99_ms),
            of("complete p50 ms", &|r| r.complete.p50_ms),
            of("complete p99 ms", &|r| r.complete.p99_ms),
            of("lease to done p50 ms", &|r| r.lease_to_complete.p50_ms),
            of("generator load", &|r| r.generator_load),
            of("others' load", &|r| r.others_load),
        ],
    }
}
