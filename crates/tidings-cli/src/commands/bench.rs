mod own_server;
mod refused;

use std::{process::ExitCode, time::Duration};

use clap::{Args, ValueEnum};
use secrecy::ExposeSecret as _;
use tidings_bench::load::{
    FanoutLoad, FanoutReport, JobLoad, JobReport, LatencySummary, Pace, Processes, Target, Transport, fanout,
    jobs,
};
use tidings_client::{Client, ClientError, JobListRequest};

use crate::{
    args::{TargetArgs, value},
    exit::{self, Usage},
    output::{self, Paint},
};
use own_server::OwnServer;

/// Measure a server.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --url (or TIDINGS_URL) it starts a server of its own in a temporary folder and stops it afterwards. With --url \
it loads that server for real: its events and jobs stay. The generator runs on this machine, in one thread, and shares \
its cores. It fails if an event was lost, doubled or out of order.

Examples:
  tidings bench
  tidings bench fanout --subscribers 1000 --seconds 10s
  tidings bench --json > before.json")]
pub(crate) struct Bench {
    /// What to measure.
    #[arg(value_enum, default_value_t)]
    what: What,
    /// Subscribers of a fan-out.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = value::at_least_one)]
    subscribers: usize,
    /// How long each measurement takes, after a warm-up of a second.
    #[arg(long, default_value = "5s", value_parser = value::length)]
    seconds: Duration,
    /// Print the reports as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum What {
    #[default]
    All,
    /// Durable publishes with nobody listening.
    Publish,
    /// Every publish to every subscriber, over WebSocket and over SSE.
    Fanout,
    /// Full cycles: enqueue, lease, complete.
    Jobs,
}

/// Cores' worth of other programs that leave the figures nearly as they are.
const OTHERS_MAX: f64 = 0.2;

/// The server under load.
struct Subject {
    target: Target,
    processes: Processes,
    /// Kept for as long as it is needed: dropping it stops the server.
    _own: Option<OwnServer>,
}

#[derive(Default, serde::Serialize)]
struct Reports {
    #[serde(skip_serializing_if = "Option::is_none")]
    publish: Option<FanoutReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fanout: Vec<FanoutReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<JobReport>,
}

impl Bench {
    pub(crate) fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        let subject = self.subject()?;
        let reports =
            self.measure(&subject, paint).map_err(|error| refused::told(error, &subject.target.host))?;
        if self.json {
            output::line(serde_json::to_string_pretty(&reports)?)?;
        } else {
            output::line(reports.table())?;
        }
        // The load of a server elsewhere cannot be told from that of others.
        let others = if self.target.url.is_none() { reports.others_load() } else { 0.0 };
        if others > OTHERS_MAX {
            let caution = format!(
                "other programs kept {others:.1} cores busy: on a quiet machine the figures are better"
            );
            eprintln!("{}", paint.err().yellow(caution));
        }
        let broken = reports.broken();
        for promise in &broken {
            eprintln!("{} {promise}", paint.err().red("broken:"));
        }
        Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILURE) })
    }

    fn measure(&self, subject: &Subject, paint: Paint) -> anyhow::Result<Reports> {
        let mut reports = Reports::default();
        let measures = |what: What| self.what == What::All || self.what == what;
        let say = |what: &str| eprintln!("{}", paint.err().dim(format_args!("measuring {what} …")));
        if measures(What::Publish) {
            say("durable publishes");
            reports.publish = Some(fanout(&self.fanout_load(subject, Transport::WebSocket, 0))?);
        }
        if measures(What::Fanout) {
            for transport in [Transport::WebSocket, Transport::Sse] {
                say(&format!("fan-out to {} subscribers over {}", self.subscribers, transport.as_str()));
                reports.fanout.push(fanout(&self.fanout_load(subject, transport, self.subscribers))?);
            }
        }
        if measures(What::Jobs) {
            say("job cycles");
            let load = JobLoad::one_by_one(subject.target.clone(), subject.processes.clone(), self.seconds);
            reports.jobs = Some(jobs(&load)?);
        }
        Ok(reports)
    }

    fn subject(&self) -> anyhow::Result<Subject> {
        if self.target.url.is_none() {
            let own = OwnServer::start(self.subscribers + 200)?;
            let target = Target::tidings(&own.url, &own.token, None)?;
            return Ok(Subject { target, processes: Processes::of(vec![own.pid()]), _own: Some(own) });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let resolved = self.target.resolve()?;
        let target = |tenant: Option<&str>| {
            Target::tidings(&resolved.url, resolved.token.expose_secret(), tenant)
                .map_err(|why| Usage(format!("{why:#}")))
        };
        // Before anything is asked of it.
        target(None)?;
        let client = runtime.block_on(self.target.connect())?;
        runtime.block_on(look(&client))?;
        let target = target(client.tenant().map(tidings_core::TenantId::as_str))?;
        Ok(Subject { target, processes: Processes::of(Vec::new()), _own: None })
    }

    fn fanout_load(&self, subject: &Subject, transport: Transport, subscribers: usize) -> FanoutLoad {
        FanoutLoad {
            target: subject.target.clone(),
            publish_to: None,
            transport,
            subscribers,
            pace: Pace::Saturated { in_flight: if subscribers == 0 { 64 } else { 16 } },
            publishers: 16,
            message_bytes: 300,
            warm_up: Duration::from_secs(1),
            measure: self.seconds,
            behind_max: 256,
            processes: subject.processes.clone(),
            beside: Processes::default(),
        }
    }
}

/// Whether there is a server where the credential counts. What else it may do there, the load finds out.
async fn look(client: &Client) -> Result<(), ClientError> {
    let one = JobListRequest { limit: Some(1), ..JobListRequest::default() };
    match client.jobs(&one).await {
        Err(error) if error.status() != Some(403) => Err(error),
        _ => Ok(()),
    }
}

impl Reports {
    fn table(&self) -> String {
        let mut rows = Vec::new();
        if let Some(report) = &self.publish {
            rows.push(row("publish", rate(report.publishes_per_s, "events/s"), &report.acknowledgement));
        }
        for report in &self.fanout {
            let what = format!("fan-out to {} over {}", report.subscribers, report.transport.as_str());
            rows.push(row(&what, rate(report.deliveries_per_s, "deliveries/s"), &report.latency));
        }
        if let Some(report) = &self.jobs {
            rows.push(row("job cycles", rate(report.cycles_per_s, "jobs/s"), &report.lease_to_complete));
        }
        output::table(["what", "rate", "p50 ms", "p95 ms", "p99 ms"], rows)
    }

    fn streams(&self) -> impl Iterator<Item = &FanoutReport> {
        self.publish.iter().chain(&self.fanout)
    }

    /// What was promised and not kept: no event is ever lost, doubled or out of order.
    fn broken(&self) -> Vec<String> {
        let streams = self.streams().filter(|r| !r.faults.is_none()).map(|r| r.faults.to_string());
        streams.chain(self.jobs.iter().flat_map(|r| r.faults.iter().cloned())).collect()
    }

    /// The most that other programs used in any measurement, in cores.
    fn others_load(&self) -> f64 {
        let jobs = self.jobs.iter().map(|r| r.others_load);
        self.streams().map(|r| r.others_load).chain(jobs).fold(0.0, f64::max)
    }
}

fn row(what: &str, rate: String, latency: &LatencySummary) -> [String; 5] {
    let ms = |value: f64| format!("{value:.2}");
    [what.to_owned(), rate, ms(latency.p50_ms), ms(latency.p95_ms), ms(latency.p99_ms)]
}

fn rate(per_second: f64, unit: &str) -> String {
    let whole = format!("{per_second:.0}");
    let digits = whole.len();
    let grouped: String = whole
        .chars()
        .enumerate()
        .flat_map(|(i, digit)| {
            let separator = (i > 0 && (digits - i).is_multiple_of(3)).then_some(',');
            separator.into_iter().chain([digit])
        })
        .collect();
    format!("{grouped} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_grouped() {
        assert_eq!(rate(1_234_567.8, "x/s"), "1,234,568 x/s");
        assert_eq!(rate(12.0, "x/s"), "12 x/s");
    }
}
