use std::time::Duration;

use super::{Contender, Measured, Options, in_turn};
use crate::{
    load::{IdleLoad, IdleReport, Transport, idle},
    reference::bare::Writes,
    report::{Bound, Check, Figure, Outcome, Row, median},
};

const CONNECTIONS: usize = 10_000;
const KIB_MAX: f64 = 8.0;

const CONTENDERS: [Contender; 3] =
    [Contender::Tidings, Contender::Bare(Writes::PerMessage), Contender::Nchan { workers: 1 }];

impl Measured for IdleReport {
    fn others_load(&self) -> f64 {
        self.others_load
    }

    fn broken(&self) -> bool {
        self.ended > 0
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let connections = if options.quick { CONNECTIONS / 10 } else { CONNECTIONS };
    let name = |contender: Contender| format!("idle, {}", contender.name());
    let reports = in_turn(options, &CONTENDERS, name, |contender| {
        let running = contender.start(options)?;
        idle(&IdleLoad {
            target: running.target.clone(),
            transport: Transport::WebSocket,
            connections,
            // Heartbeats come every 15 s: memory is read after each connection has had one.
            hold: Duration::from_secs(if options.quick { 2 } else { 20 }),
            processes: running.processes.clone(),
        })
    })?;
    let measured = median(reports[0].iter().map(|r| r.kib_per_connection));
    let pairs = || CONTENDERS.iter().zip(&reports);
    Ok(Outcome {
        name: format!("idle: {connections} WebSocket connections"),
        rows: pairs().map(|(contender, reports)| row(*contender, reports)).collect(),
        checks: vec![Check::new(
            "KiB of the server's memory per connection",
            measured,
            Bound::AtMost(KIB_MAX),
        )],
        objections: pairs()
            .flat_map(|(c, reports)| {
                reports.iter().filter_map(|r| r.objection().map(|why| format!("{}: {why}", c.name())))
            })
            .collect(),
        runs: pairs()
            .flat_map(|(c, reports)| {
                reports.iter().map(|r| serde_json::json!({"who": c.name(), "report": r}))
            })
            .collect(),
    })
}

fn row(contender: Contender, reports: &[IdleReport]) -> Row {
    let of = |name: &'static str, value: &dyn Fn(&IdleReport) -> f64| Figure {
        name,
        value: Some(median(reports.iter().map(value))),
    };
    Row {
        who: contender.name(),
        figures: vec![
            of("KiB/connection", &|r| r.kib_per_connection),
            of("resident MiB", &|r| r.resident_kib_after / 1_024.0),
            of("CPU µs/handshake", &|r| r.cpu_us_per_handshake),
            of("CPU % while idle", &|r| r.idle_cpu_percent),
        ],
    }
}
