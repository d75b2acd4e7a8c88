//! What a tenant with little to do has of the server, alone and beside one that does too much of everything.

use std::{net::Ipv4Addr, time::Duration};

use tidings_testkit::Postgres;

use super::{Measured, Options, fanout::MESSAGE_BYTES, in_turn};
use crate::{
    load::{Answers, FairnessLoad, FairnessReport, FloodLoad, LatencySummary, Processes, fairness},
    report::{Bound, Check, Figure, Outcome, Row, median},
    scratch::Scratch,
    subject::{Shared, Subject},
};

/// How much longer the quiet tenant's p95 may be beside the flood.
const OF_ALONE: f64 = 2.0;

/// The quiet tenant's pace: each event is delivered twice, and each job is three requests and three events.
const PUBLISHES_PER_S: f64 = 50.0;
const JOBS_PER_S: f64 = 10.0;

/// As shipped, but for the rate of webhooks: the quiet tenant's own would wait for it.
const SHIPPED: [&str; 5] = [
    "limits.connections_per_ip=10",
    "limits.connections_per_user=5",
    "limits.upgrades_per_ip=10/s",
    "webhooks.rate_per_tenant=off",
    "webhooks.allow_cidrs=[\"127.0.0.0/8\"]",
];

/// Where the flood comes from.
const FLOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The limits of docs/limits.md that bound a tenant, each above what the quiet one needs.
const LIMITED: [&str; 9] = [
    "limits.requests_per_tenant=500/s",
    "limits.publishes_per_tenant=200/s",
    "limits.enqueues_per_tenant=50/s",
    "limits.connections_per_tenant=100",
    "limits.connections_per_ip=10",
    "limits.connections_per_user=5",
    "limits.upgrades_per_ip=10/s",
    "webhooks.rate_per_tenant=6000/m",
    "webhooks.allow_cidrs=[\"127.0.0.0/8\"]",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    Sqlite,
    Postgres,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nobody,
    /// The flood, with the limits of tenants set.
    Limited,
    /// The flood, and the limits as shipped: none of a tenant's rates.
    Shipped,
}

const CONTENDERS: [Beside; 3] = [Beside::Nobody, Beside::Limited, Beside::Shipped];

impl Beside {
    const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "alone",
            Self::Limited => "beside a flood, tenants limited",
            Self::Shipped => "beside a flood, limits as shipped",
        }
    }
}

impl Measured for FairnessReport {
    fn others_load(&self) -> f64 {
        self.others_load
    }

    fn broken(&self) -> bool {
        Self::broken(self).is_some()
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<Vec<Outcome>> {
    [Store::Sqlite, Store::Postgres].into_iter().map(|store| on(options, store)).collect()
}

fn on(options: &Options, store: Store) -> anyhow::Result<Outcome> {
    let store_name = if store == Store::Sqlite { "SQLite" } else { "PostgreSQL" };
    let name = |beside: Beside| format!("fairness on {store_name}, {}", beside.name());
    let reports = in_turn(options, &CONTENDERS, name, |beside| measure(options, store, beside))?;
    let pairs = || CONTENDERS.iter().zip(&reports);
    let ratio = |index: usize, of: Latency| {
        let rounds = reports[index].iter().zip(&reports[0]);
        median(rounds.map(|(beside, alone)| of.get(beside).p95_ms / of.get(alone).p95_ms))
    };
    let mut rows: Vec<_> = pairs().map(|(beside, reports)| row(beside.name(), reports)).collect();
    rows.extend((1..CONTENDERS.len()).map(|index| ratios(CONTENDERS[index], |of| ratio(index, of))));
    Ok(Outcome {
        name: format!(
            "fairness on {store_name}: {PUBLISHES_PER_S} publishes/s and {JOBS_PER_S} jobs/s of one tenant; p50, p95, p99 in ms"
        ),
        rows,
        checks: Latency::ALL
            .into_iter()
            .map(|of| {
                let what = format!("p95 of {} beside a flood ÷ alone, tenants limited", of.name());
                Check::new(what, ratio(1, of), Bound::AtMost(OF_ALONE))
            })
            .collect(),
        objections: pairs()
            .flat_map(|(beside, reports)| {
                reports.iter().filter_map(|r| r.objection().map(|why| format!("{}: {why}", beside.name())))
            })
            .collect(),
        runs: pairs()
            .flat_map(|(beside, reports)| {
                reports.iter().map(|r| serde_json::json!({"who": beside.name(), "report": r}))
            })
            .collect(),
    })
}

fn measure(options: &Options, store: Store, beside: Beside) -> anyhow::Result<FairnessReport> {
    let postgres = (store == Store::Postgres).then(Postgres::start);
    let shared =
        Shared { store: postgres.as_ref().map(|postgres| postgres.database("fairness")), redis: None };
    let scratch = Scratch::create(&options.folder)?;
    let settings: &[&str] = if beside == Beside::Shipped { &SHIPPED } else { &LIMITED };
    let subject = Subject::start_on(&shared, &options.server, scratch.path(), settings)?;
    let flood = match beside {
        Beside::Nobody => None,
        Beside::Limited | Beside::Shipped => {
            let mut target = subject.tenant(&shared, &options.server, scratch.path(), "flood")?;
            target.from = Some(FLOOD);
            Some(FloodLoad {
                target,
                publishers: 32,
                enqueuers: 8,
                lessees: 8,
                streams: 8,
                endpoints: 10,
                message_bytes: MESSAGE_BYTES,
            })
        }
    };
    let behind = |all: Processes, postgres: &Postgres| all.with_tree(postgres.pid());
    fairness(&FairnessLoad {
        target: subject.target.clone(),
        publishes_per_s: PUBLISHES_PER_S,
        jobs_per_s: JOBS_PER_S,
        message_bytes: MESSAGE_BYTES,
        // Time for the flood's burst to be used up, and for its deliveries to hang.
        warm_up: Duration::from_secs(3),
        measure: Duration::from_secs(if options.quick { 3 } else { 15 }),
        flood,
        processes: postgres.iter().fold(subject.processes(), behind),
    })
}

/// What of the quiet tenant is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Latency {
    Publish,
    Arrival,
    Webhook,
    Job,
}

impl Latency {
    const ALL: [Self; 4] = [Self::Publish, Self::Arrival, Self::Webhook, Self::Job];

    const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publishes' answers",
            Self::Arrival => "arrival",
            Self::Webhook => "webhooks",
            Self::Job => "job cycles",
        }
    }

    const fn columns(self) -> [&'static str; 3] {
        match self {
            Self::Publish => ["publish p50", "p95", "p99"],
            Self::Arrival => ["arrival p50", "p95", "p99"],
            Self::Webhook => ["webhook p50", "p95", "p99"],
            Self::Job => ["job p50", "p95", "p99"],
        }
    }

    const fn get(self, report: &FairnessReport) -> LatencySummary {
        match self {
            Self::Publish => report.publish,
            Self::Arrival => report.arrival,
            Self::Webhook => report.webhook,
            Self::Job => report.job,
        }
    }
}

fn row(who: &str, reports: &[FairnessReport]) -> Row {
    let of = |value: &dyn Fn(&FairnessReport) -> f64| Some(median(reports.iter().map(value)));
    let mut figures = Vec::new();
    for latency in Latency::ALL {
        let quantiles: [&dyn Fn(LatencySummary) -> f64; 3] = [&|l| l.p50_ms, &|l| l.p95_ms, &|l| l.p99_ms];
        for (name, quantile) in latency.columns().into_iter().zip(quantiles) {
            figures.push(Figure { name, value: of(&|r| quantile(latency.get(r))) });
        }
    }
    for (name, part) in PARTS {
        let rate = |r: &FairnessReport, count: &dyn Fn(Answers) -> u64| {
            r.flood.as_ref().map_or(0.0, |flood| count(part(flood)) as f64 / r.seconds)
        };
        let flooded = reports.iter().any(|r| r.flood.is_some());
        figures.push(Figure { name, value: of(&|r| rate(r, &|a| a.granted)).filter(|_| flooded) });
        figures.push(Figure {
            name: "refused/s",
            value: of(&|r| rate(r, &|a| a.limited + a.refused)).filter(|_| flooded),
        });
    }
    figures.push(Figure { name: "server load", value: of(&|r| r.server_load) });
    figures.push(Figure { name: "generator load", value: of(&|r| r.generator_load) });
    figures.push(Figure { name: "others' load", value: of(&|r| r.others_load) });
    Row { who: who.to_owned(), figures }
}

type Part = fn(&crate::load::FloodReport) -> Answers;

const PARTS: [(&str, Part); 4] = [
    ("flood's publishes/s", |flood| flood.publishes),
    ("enqueues/s", |flood| flood.enqueues),
    ("leases/s", |flood| flood.leases),
    ("streams/s", |flood| flood.streams),
];

/// The p95 figures as multiples of those alone.
fn ratios(beside: Beside, ratio: impl Fn(Latency) -> f64) -> Row {
    let latencies = Latency::ALL.into_iter().flat_map(|latency| {
        let [p50, p95, p99] = latency.columns();
        [(p50, None), (p95, Some(ratio(latency))), (p99, None)]
    });
    let rest = PARTS.iter().flat_map(|(name, _)| [(*name, None), ("refused/s", None)]);
    let loads = ["server load", "generator load", "others' load"].map(|name| (name, None));
    let figures = latencies.chain(rest).chain(loads).map(|(name, value)| Figure { name, value }).collect();
    Row { who: format!("{}: ÷ alone", beside.name()), figures }
}
