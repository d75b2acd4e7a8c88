use std::time::Duration;

use super::{Contender, Measured, Options, in_turn};
use crate::{
    load::{FanoutLoad, FanoutReport, Pace, Processes, Transport, fanout},
    reference::bare::Writes,
    report::{Bound, Check, Figure, Outcome, Row, median},
};

pub(super) const SUBSCRIBERS: usize = 1_000;
pub(super) const MESSAGE_BYTES: usize = 300;
const IN_FLIGHT: usize = 16;
/// Twice the faster of nchan's two set-ups.
const OVER_NCHAN: f64 = 2.0;

const CONTENDERS: [Contender; 5] = [
    Contender::Tidings,
    Contender::Nchan { workers: 1 },
    Contender::Nchan { workers: 2 },
    Contender::Bare(Writes::Coalesced),
    Contender::Bare(Writes::PerMessage),
];

impl Measured for FanoutReport {
    fn others_load(&self) -> f64 {
        self.others_load
    }

    fn broken(&self) -> bool {
        !self.faults.is_none()
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<Vec<Outcome>> {
    [Transport::WebSocket, Transport::Sse].into_iter().map(|transport| one(options, transport)).collect()
}

fn one(options: &Options, transport: Transport) -> anyhow::Result<Outcome> {
    let name = |contender: Contender| format!("saturated, {}, {}", transport.as_str(), contender.name());
    let reports = in_turn(options, &CONTENDERS, name, |contender| {
        let running = contender.start(options)?;
        fanout(&FanoutLoad {
            target: running.target.clone(),
            publish_to: None,
            transport,
            subscribers: SUBSCRIBERS,
            pace: Pace::Saturated { in_flight: IN_FLIGHT },
            publishers: IN_FLIGHT,
            message_bytes: MESSAGE_BYTES,
            warm_up: Duration::from_secs(1),
            measure: Duration::from_secs(if options.quick { 1 } else { 4 }),
            behind_max: 256,
            processes: running.processes.clone(),
            beside: Processes::default(),
        })
    })?;
    let rate = |index: usize| median(reports[index].iter().map(|r| r.deliveries_per_s));
    let checks = vec![Check::new(
        format!("deliveries/s over {} ÷ the faster nchan's", transport.as_str()),
        rate(0) / rate(1).max(rate(2)),
        Bound::AtLeast(OVER_NCHAN),
    )];
    let title = match transport {
        Transport::WebSocket => {
            "fan-out, saturated, WebSocket: 1,000 subscribers, 300 bytes, 16 publishes in flight"
        }
        Transport::Sse => "fan-out, saturated, SSE: 1,000 subscribers, 300 bytes, 16 publishes in flight",
    };
    Ok(outcome(title, &CONTENDERS, &reports, checks))
}

/// The table of a fan-out: the first contender is Tidings, whose objections count.
pub(super) fn outcome(
    name: &str,
    contenders: &[Contender],
    reports: &[Vec<FanoutReport>],
    checks: Vec<Check>,
) -> Outcome {
    let rows = contenders.iter().zip(reports).map(|(contender, reports)| row(*contender, reports)).collect();
    let objections = contenders
        .iter()
        .zip(reports)
        .flat_map(|(contender, reports)| reports.iter().map(move |report| (*contender, report)))
        // A peer that loses messages keeps its figure; a load that was not offered or a crowded machine
        // spoils the comparison whoever was measured.
        .filter(|(contender, report)| *contender == Contender::Tidings || report.faults.is_none())
        .filter_map(|(contender, report)| {
            report.objection().map(|why| format!("{}: {why}", contender.name()))
        })
        .collect();
    let runs = contenders
        .iter()
        .zip(reports)
        .flat_map(|(c, reports)| reports.iter().map(|r| serde_json::json!({"who": c.name(), "report": r})))
        .collect();
    Outcome { name: name.to_owned(), rows, checks, objections, runs }
}

fn row(contender: Contender, reports: &[FanoutReport]) -> Row {
    let of = |name: &'static str, value: &dyn Fn(&FanoutReport) -> f64| Figure {
        name,
        value: Some(median(reports.iter().map(value))),
    };
    Row {
        who: contender.name(),
        figures: vec![
            of("deliveries/s", &|r| r.deliveries_per_s),
            of("CPU-s/M", &|r| r.cpu_s_per_million),
            of("publishes/s", &|r| r.publishes_per_s),
            of("p50 ms", &|r| r.latency.p50_ms),
            of("p95 ms", &|r| r.latency.p95_ms),
            of("p99 ms", &|r| r.latency.p99_ms),
            of("ack p50 ms", &|r| r.acknowledgement.p50_ms),
            of("lost, doubled, disordered", &|r| {
                (r.faults.lost + r.faults.doubled + r.faults.out_of_order + r.faults.disagreeing) as f64
            }),
            of("generator load", &|r| r.generator_load),
            of("others' load", &|r| r.others_load),
        ],
    }
}
