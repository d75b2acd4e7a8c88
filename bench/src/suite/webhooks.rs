//! Webhooks to receivers that answer at once, against a bare client that posts to the same; and what a backlog costs.

use std::{cell::Cell, process::Command, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use tidings_testkit::Postgres;

use super::{Measured, Options, fanout::MESSAGE_BYTES, in_turn};
use crate::{
    child::Child,
    load::{
        BacklogLoad, BacklogReport, PostReport, Processes, WebhookLoad, WebhookReport, backlog, posts,
        webhooks,
    },
    report::{Bound, Check, Figure, Outcome, Row, median},
    scratch::Scratch,
    subject::{Shared, Subject},
};

const MANY: usize = 100;
/// Of the bare client's CPU for a POST, what a delivery may take: a fifth of what svix-server does with its services.
const OF_BARE_ONE: f64 = 67.0;
const OF_BARE_MANY: f64 = 11.0;
/// Publishes in flight, each on a connection of its own; and the bare client's connections.
const IN_FLIGHT: usize = 64;
/// Events per second that deliver a load of which nothing queues.
const PACED_ONE: f64 = 100.0;
const PACED_MANY: f64 = 10.0;

const SETTINGS: [&str; 2] = ["webhooks.rate_per_tenant=off", "webhooks.allow_cidrs=[\"127.0.0.0/8\"]"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Sqlite,
    Postgres,
}

impl Store {
    const BOTH: [Self; 2] = [Self::Sqlite, Self::Postgres];

    const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// A server with webhooks to this machine, and what it works on. They end in this order.
struct Site {
    subject: Subject,
    postgres: Option<Postgres>,
    _scratch: Scratch,
}

impl Site {
    fn start(options: &Options, store: Store, settings: &[&str]) -> anyhow::Result<Self> {
        let postgres = (store == Store::Postgres).then(Postgres::start);
        let url = postgres.as_ref().map(|postgres| postgres.database("webhooks"));
        let scratch = Scratch::create(&options.folder)?;
        let shared = Shared { store: url, redis: None };
        let settings = [&SETTINGS, settings].concat();
        let subject = Subject::start_on(&shared, &options.server, scratch.path(), &settings)?;
        Ok(Self { subject, postgres, _scratch: scratch })
    }

    fn processes(&self) -> Processes {
        let own = self.subject.processes();
        self.postgres.iter().fold(own, |all, postgres| all.with_tree(postgres.pid()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Tidings {
        store: Store,
        endpoints: usize,
        ordered: bool,
    },
    /// After the others: it posts bodies of their size.
    Bare,
}

const fn tidings(store: Store, endpoints: usize, ordered: bool) -> Who {
    Who::Tidings { store, endpoints, ordered }
}

const CONTENDERS: [Who; 7] = [
    tidings(Store::Sqlite, 1, false),
    tidings(Store::Postgres, 1, false),
    tidings(Store::Sqlite, MANY, false),
    tidings(Store::Postgres, MANY, false),
    tidings(Store::Sqlite, 1, true),
    tidings(Store::Postgres, 1, true),
    Who::Bare,
];

impl Who {
    fn name(self) -> String {
        match self {
            Self::Tidings { store, endpoints, ordered } => {
                let order = if ordered { ", in order" } else { "" };
                let plural = if endpoints == 1 { "" } else { "s" };
                format!("tidings on {}, {endpoints} endpoint{plural}{order}", store.name())
            }
            Self::Bare => "a bare HTTP POST".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Report {
    Tidings(Box<WebhookReport>),
    Bare(PostReport),
}

impl Report {
    const fn per_s(&self) -> f64 {
        match self {
            Self::Tidings(report) => report.deliveries_per_s,
            Self::Bare(report) => report.posts_per_s,
        }
    }

    const fn cpu_us(&self) -> f64 {
        match self {
            Self::Tidings(report) => report.cpu_us_per_delivery,
            Self::Bare(report) => report.cpu_us_per_post,
        }
    }

    const fn generator_load(&self) -> f64 {
        match self {
            Self::Tidings(report) => report.generator_load,
            Self::Bare(report) => report.generator_load,
        }
    }

    const fn tidings(&self) -> Option<&WebhookReport> {
        match self {
            Self::Tidings(report) => Some(report),
            Self::Bare(_) => None,
        }
    }

    fn objection(&self) -> Option<String> {
        match self {
            Self::Tidings(report) => report.objection(),
            Self::Bare(report) => report.objection(),
        }
    }
}

impl Measured for Report {
    fn others_load(&self) -> f64 {
        match self {
            Self::Tidings(report) => report.others_load,
            Self::Bare(report) => report.others_load,
        }
    }

    fn broken(&self) -> bool {
        self.tidings().is_some_and(|report| report.faults.objection().is_some())
    }
}

impl Measured for BacklogReport {
    fn others_load(&self) -> f64 {
        self.others_load
    }

    fn broken(&self) -> bool {
        self.faults.objection().is_some()
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    let body_bytes = Cell::new(MESSAGE_BYTES);
    let reports = in_turn(
        options,
        &CONTENDERS,
        |who| format!("webhooks, {}", who.name()),
        |who| match who {
            Who::Tidings { store, endpoints, ordered } => {
                let report = deliver(options, store, endpoints, ordered)?;
                body_bytes.set(report.body_bytes.round() as usize);
                Ok(Report::Tidings(Box::new(report)))
            }
            Who::Bare => bare(options, body_bytes.get()).map(Report::Bare),
        },
    )?;
    let bare = CONTENDERS.len() - 1;
    let of_bare = |index: usize| {
        let rounds = reports[index].iter().zip(&reports[bare]);
        median(rounds.map(|(ours, bare)| ours.cpu_us() / bare.cpu_us()))
    };
    let check = |index: usize, most: f64| {
        let what = format!("CPU per delivery ÷ a bare POST's, {}", CONTENDERS[index].name());
        Check::new(what, of_bare(index), Bound::AtMost(most))
    };
    let pairs = || CONTENDERS.iter().zip(&reports);
    Ok(Outcome {
        name: format!("webhooks: events of {MESSAGE_BYTES} bytes to receivers that answer at once"),
        rows: pairs().enumerate().map(|(index, (who, reports))| row(*who, reports, of_bare(index))).collect(),
        checks: vec![
            check(0, OF_BARE_ONE),
            check(1, OF_BARE_ONE),
            check(2, OF_BARE_MANY),
            check(3, OF_BARE_MANY),
        ],
        objections: pairs()
            .flat_map(|(who, reports)| {
                reports.iter().filter_map(|r| r.objection().map(|why| format!("{}: {why}", who.name())))
            })
            .collect(),
        runs: pairs()
            .flat_map(|(who, reports)| {
                reports.iter().map(|r| serde_json::json!({"who": who.name(), "report": r}))
            })
            .collect(),
    })
}

fn lengths(options: &Options) -> (Duration, Duration) {
    (Duration::from_secs(1), Duration::from_secs(if options.quick { 1 } else { 6 }))
}

fn deliver(
    options: &Options,
    store: Store,
    endpoints: usize,
    ordered: bool,
) -> anyhow::Result<WebhookReport> {
    let site = Site::start(options, store, &[])?;
    let (warm_up, measure) = lengths(options);
    webhooks(&WebhookLoad {
        target: site.subject.target.clone(),
        endpoints,
        ordered,
        in_flight: IN_FLIGHT,
        message_bytes: MESSAGE_BYTES,
        warm_up,
        measure,
        behind_max: 256,
        paced_per_s: if endpoints == 1 { PACED_ONE } else { PACED_MANY },
        processes: site.processes(),
    })
}

/// Starts this very program as the client.
fn bare(options: &Options, bytes: usize) -> anyhow::Result<PostReport> {
    let scratch = Scratch::create(&options.folder)?;
    let program = std::env::current_exe().context("finding this program")?;
    let mut client = None;
    let (warm_up, measure) = lengths(options);
    let start = |addr: std::net::SocketAddr| {
        let mut command = Command::new(program);
        command.args(["post", &addr.to_string(), &bytes.to_string(), &IN_FLIGHT.to_string()]);
        let child = client.insert(Child::spawn(&mut command, &scratch.path().join("post.log"))?);
        Ok(Processes::of(vec![child.pid()]))
    };
    posts(start, warm_up, measure)
}

fn row(who: Who, reports: &[Report], of_bare: f64) -> Row {
    let of = |name: &'static str, value: &dyn Fn(&Report) -> f64| Figure {
        name,
        value: Some(median(reports.iter().map(value))),
    };
    let own = |name: &'static str, value: &dyn Fn(&WebhookReport) -> f64| Figure {
        name,
        value: (who != Who::Bare).then(|| median(reports.iter().filter_map(Report::tidings).map(value))),
    };
    Row {
        who: who.name(),
        figures: vec![
            of("deliveries/s", &Report::per_s),
            of("CPU µs", &Report::cpu_us),
            Figure { name: "÷ bare", value: Some(of_bare) },
            own("publishes/s", &|r| r.publishes_per_s),
            own("paced p50 ms", &|r| r.latency.p50_ms),
            own("p95 ms", &|r| r.latency.p95_ms),
            own("p99 ms", &|r| r.latency.p99_ms),
            own("lost, doubled, disordered", &|r| {
                (r.faults.lost + r.faults.doubled + r.faults.disordered) as f64
            }),
            of("generator load", &Report::generator_load),
            of("others' load", &Measured::others_load),
        ],
    }
}

/// One round, whatever was asked for: draining takes minutes, and memory varies little.
pub(super) fn backlogs(options: &Options) -> anyhow::Result<Outcome> {
    let options = &Options { rounds: 1, ..options.clone() };
    let name = |store: Store| format!("webhook-backlog on {}", store.name());
    let reports = in_turn(options, &Store::BOTH, name, |store| {
        // While events gather nothing is to fail: retries would come first to those that have waited.
        let site = Site::start(options, store, &["webhooks.timeout=30s"])?;
        backlog(&BacklogLoad {
            target: site.subject.target.clone(),
            endpoints: MANY,
            events: options.backlog.div_ceil(MANY as u64).max(1),
            in_flight: IN_FLIGHT,
            message_bytes: MESSAGE_BYTES,
            warm_up: 500,
            hold: Duration::from_secs(if options.quick { 1 } else { 5 }),
            processes: site.processes(),
        })
    })?;
    let pairs = || Store::BOTH.iter().zip(&reports);
    let each = || pairs().flat_map(|(store, reports)| reports.iter().map(move |r| (store, r)));
    Ok(Outcome {
        name: format!(
            "webhook-backlog: {} deliveries that wait at {MANY} endpoints, and then are made",
            options.backlog
        ),
        rows: pairs().map(|(store, reports)| backlog_row(*store, reports)).collect(),
        checks: Vec::new(),
        objections: each()
            .filter_map(|(store, r)| r.objection().map(|why| format!("{}: {why}", store.name())))
            .collect(),
        runs: each().map(|(store, r)| serde_json::json!({"who": store.name(), "report": r})).collect(),
    })
}

fn backlog_row(store: Store, reports: &[BacklogReport]) -> Row {
    let of = |name: &'static str, value: &dyn Fn(&BacklogReport) -> f64| Figure {
        name,
        value: Some(median(reports.iter().map(value))),
    };
    Row {
        who: format!("tidings on {}", store.name()),
        figures: vec![
            of("waiting", &|r| r.waiting as f64),
            of("MiB before", &|r| r.resident_kib_before / 1_024.0),
            of("MiB waiting", &|r| r.resident_kib_waiting / 1_024.0),
            of("bytes each", &|r| r.bytes_per_delivery),
            of("MiB after", &|r| r.resident_kib_after / 1_024.0),
            of("gathered in s", &|r| r.gather_s),
            of("drained in s", &|r| r.drain_s),
            of("deliveries/s", &|r| r.drained_per_s),
            of("CPU µs", &|r| r.cpu_us_per_delivery),
            of("generator load", &|r| r.generator_load),
            of("others' load", &|r| r.others_load),
        ],
    }
}
