//! What a second node adds: the way over the bus, on one PostgreSQL and one Redis.

use std::time::Duration;

use tidings_testkit::{Postgres, Redis};

use super::{
    Measured, Options,
    fanout::{MESSAGE_BYTES, SUBSCRIBERS},
    in_turn,
};
use crate::{
    load::{
        FanoutLoad, FanoutReport, HopLoad, HopReport, LatencySummary, Pace, Processes, Transport, fanout, hop,
    },
    report::{Bound, Check, Figure, Outcome, Row, median},
    scratch::Scratch,
    subject::{Shared, Subject},
};

const ADDED_P95_MS_MAX: f64 = 5.0;
/// Of the single node's deliveries/s, and of its CPU time for each.
const OF_SINGLE: f64 = 0.8;
const CPU_OF_SINGLE: f64 = 1.2;
const PER_SECOND: f64 = 200.0;
const IN_FLIGHT: usize = 16;

pub(super) fn run(options: &Options) -> anyhow::Result<Vec<Outcome>> {
    Ok(vec![hops(options)?, fan_out(options)?])
}

/// Two nodes and what they share. They end in this order.
struct Cluster {
    nodes: Vec<Subject>,
    redis: Redis,
    postgres: Postgres,
    _scratch: Vec<Scratch>,
}

impl Cluster {
    fn start(options: &Options, count: usize) -> anyhow::Result<Self> {
        let (postgres, redis) = (Postgres::start(), Redis::start());
        let shared = Shared { store: Some(postgres.database("tidings")), redis: Some(redis.url()) };
        let (mut nodes, mut folders) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let scratch = Scratch::create(&options.folder)?;
            nodes.push(Subject::start_on(&shared, &options.server, scratch.path(), &[])?);
            folders.push(scratch);
        }
        Ok(Self { nodes, redis, postgres, _scratch: folders })
    }

    fn services(&self) -> Processes {
        Processes::default().with_tree(self.postgres.pid()).with_tree(self.redis.pid())
    }
}

impl Measured for HopReport {
    fn others_load(&self) -> f64 {
        self.others_load
    }

    fn broken(&self) -> bool {
        !self.faults.is_none()
    }
}

fn hops(options: &Options) -> anyhow::Result<Outcome> {
    let name = |()| "a hop over the bus".to_owned();
    let reports = in_turn(options, &[()], name, |()| {
        let cluster = Cluster::start(options, 2)?;
        let pids: Vec<_> = cluster.nodes.iter().map(Subject::pid).collect();
        let processes = pids.into_iter().fold(cluster.services(), Processes::with_tree);
        hop(&HopLoad {
            here: cluster.nodes[0].target.clone(),
            there: cluster.nodes[1].target.clone(),
            per_second: PER_SECOND,
            message_bytes: MESSAGE_BYTES,
            warm_up: Duration::from_secs(1),
            measure: Duration::from_secs(if options.quick { 1 } else { 8 }),
            processes,
        })
    })?;
    let reports = &reports[0];
    let row = |who: &str, of: &dyn Fn(&HopReport) -> LatencySummary| {
        let figure = |name, value: &dyn Fn(LatencySummary) -> f64| Figure {
            name,
            value: Some(median(reports.iter().map(|report| value(of(report))))),
        };
        let others =
            Figure { name: "others' load", value: Some(median(reports.iter().map(|r| r.others_load))) };
        Row {
            who: who.to_owned(),
            figures: vec![
                figure("p50 ms", &|l| l.p50_ms),
                figure("p95 ms", &|l| l.p95_ms),
                figure("p99 ms", &|l| l.p99_ms),
                others,
            ],
        }
    };
    let added = median(reports.iter().map(|report| report.added.p95_ms));
    Ok(Outcome {
        name: format!("bus: {PER_SECOND} events/s committed at one node, received at it and at another"),
        rows: vec![
            row("at the node that commits", &|r| r.here),
            row("at the other node", &|r| r.there),
            row("how much later there, event by event", &|r| r.added),
        ],
        checks: vec![Check::new("p95 ms that the hop adds", added, Bound::AtMost(ADDED_P95_MS_MAX))],
        objections: reports.iter().filter_map(HopReport::objection).collect(),
        runs: reports.iter().map(|r| serde_json::json!({"who": "hop", "report": r})).collect(),
    })
}

/// Where the subscribers of a fan-out are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Single,
    OverTheBus,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Single => "a single node",
            Self::OverTheBus => "a node that hears everything over the bus",
        }
    }
}

fn fan_out(options: &Options) -> anyhow::Result<Outcome> {
    const WAYS: [Way; 2] = [Way::Single, Way::OverTheBus];
    let name = |way: Way| format!("saturated fan-out, {}", way.name());
    let reports = in_turn(options, &WAYS, name, |way| {
        let cluster = Cluster::start(options, if way == Way::Single { 1 } else { 2 })?;
        let (first, last) = (&cluster.nodes[0], &cluster.nodes[cluster.nodes.len() - 1]);
        let beside = match way {
            Way::Single => cluster.services(),
            Way::OverTheBus => cluster.services().with_tree(first.pid()),
        };
        fanout(&FanoutLoad {
            target: last.target.clone(),
            publish_to: Some(first.target.clone()),
            transport: Transport::WebSocket,
            subscribers: SUBSCRIBERS,
            pace: Pace::Saturated { in_flight: IN_FLIGHT },
            publishers: IN_FLIGHT,
            message_bytes: MESSAGE_BYTES,
            warm_up: Duration::from_secs(1),
            measure: Duration::from_secs(if options.quick { 1 } else { 5 }),
            behind_max: 256,
            processes: last.processes(),
            beside,
        })
    })?;
    let of = |index: usize, value: &dyn Fn(&FanoutReport) -> f64| median(reports[index].iter().map(value));
    let pairs = || WAYS.iter().zip(&reports);
    Ok(Outcome {
        name: format!(
            "bus: {SUBSCRIBERS} subscribers over WebSocket, {IN_FLIGHT} publishes in flight, PostgreSQL"
        ),
        rows: pairs().map(|(way, reports)| row(*way, reports)).collect(),
        checks: vec![
            Check::new(
                "deliveries/s over the bus ÷ a single node's",
                of(1, &|r| r.deliveries_per_s) / of(0, &|r| r.deliveries_per_s),
                Bound::AtLeast(OF_SINGLE),
            ),
            Check::new(
                "the delivering node's CPU for each over the bus ÷ a single node's",
                of(1, &|r| r.cpu_s_per_million) / of(0, &|r| r.cpu_s_per_million),
                Bound::AtMost(CPU_OF_SINGLE),
            ),
        ],
        objections: pairs()
            .flat_map(|(way, reports)| reports.iter().map(move |r| (way, r)))
            .filter_map(|(way, r)| r.objection().map(|why| format!("{}: {why}", way.name())))
            .collect(),
        runs: pairs()
            .flat_map(|(way, reports)| {
                reports.iter().map(|r| serde_json::json!({"who": way.name(), "report": r}))
            })
            .collect(),
    })
}

fn row(way: Way, reports: &[FanoutReport]) -> Row {
    let of = |name: &'static str, value: &dyn Fn(&FanoutReport) -> f64| Figure {
        name,
        value: Some(median(reports.iter().map(value))),
    };
    Row {
        who: way.name().to_owned(),
        figures: vec![
            of("deliveries/s", &|r| r.deliveries_per_s),
            of("CPU-s/M", &|r| r.cpu_s_per_million),
            of("publishes/s", &|r| r.publishes_per_s),
            of("p50 ms", &|r| r.latency.p50_ms),
            of("p95 ms", &|r| r.latency.p95_ms),
            of("generator load", &|r| r.generator_load),
            of("others' load", &|r| r.others_load),
        ],
    }
}
