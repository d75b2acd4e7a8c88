use std::{
    collections::BTreeMap,
    ffi::OsString,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use clap::Args;
use futures_util::future::BoxFuture;
use tidings_client::{
    ClientError, FailRequest, LeasedJob,
    worker::{Ending, Handler, JobContext, Observer, Outcome, StopReason, Worker, WorkerConfig},
};
use tidings_core::{JobId, JobType, WorkerName, parse_duration};

use super::signals;
use crate::{
    args::TargetArgs,
    child::{Command, Echo, Ended, Guard, Stdin},
    exit::Usage,
    output::{self, Paint},
};

/// Be a worker: run a command for each job.
#[derive(Debug, Args)]
#[command(after_help = "\
The command gets the job's payload on stdin, reports progress as lines like {\"percent\":40,\"message\":\"…\"} on \
descriptor 3, and prints its result on stdout (JSON, or any text). Its exit status decides:
  0      the job is completed
  75     try again later, as long as attempts are left
  other  the job failed; the end of stderr is kept as its error
A command that is killed by a signal of someone else's is tried again. It gets SIGTERM when the job is cancelled, when \
its lease is lost, and when the worker stops; SIGKILL after --grace. What it then leaves behind in its process group is killed. \
The environment holds TIDINGS_JOB_ID, TIDINGS_JOB_TYPE, TIDINGS_JOB_ATTEMPT and TIDINGS_JOB_TENANT. \
SIGINT or SIGTERM to the worker gives its jobs back; no attempt is spent.

Examples:
  tidings work --type embedding -- ./embed.sh
  tidings work --type thumbnail --type preview --concurrency 4 -- python3 render.py
  tidings work --type hello -- sh -c 'echo \"{\\\"percent\\\":50}\" >&3; cat'")]
pub(crate) struct Work {
    /// Which jobs to take. May be repeated.
    #[arg(long = "type", value_name = "TYPE", required = true)]
    types: Vec<JobType>,
    /// Commands that run at once.
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// How this worker calls itself [default: host name and process id].
    #[arg(long)]
    name: Option<WorkerName>,
    /// Between SIGTERM and SIGKILL.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    grace: Duration,
    /// Print what happens as JSON lines on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Work {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        find_program(&self.command[0])?;
        let client = self.target.connect().await?;
        let shutdown = signals::shutdown()?;
        let name = self.name.clone().map_or_else(worker_name, Ok)?;
        let types: Vec<_> = self.types.iter().map(JobType::as_str).collect();
        eprintln!(
            "{}",
            paint.err().dim(format_args!("{name} takes {} at {}", types.join(", "), client.base_url()))
        );
        let mut config = WorkerConfig::new(name, self.types);
        config.concurrency = usize::from(self.concurrency);
        // The command's own grace comes first.
        config.grace = self.grace + Duration::from_secs(5);
        let command = Command {
            argv: self.command,
            stdin: Stdin::Payload,
            echo: Echo::Labelled,
            grace: self.grace,
            guard: Guard::start()?,
        };
        let observer = Reporter { paint, json: self.json, started: Mutex::default() };
        Worker::new(client, config, CommandHandler(Arc::new(command)), observer).run(shutdown).await?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A missing program is a mistake to be told of at once, not a failure of every job.
pub(super) fn find_program(program: &OsString) -> anyhow::Result<()> {
    let path = std::path::Path::new(program);
    let found = if path.components().count() > 1 {
        path.is_file()
    } else {
        std::env::var_os("PATH")
            .is_some_and(|paths| std::env::split_paths(&paths).any(|dir| dir.join(path).is_file()))
    };
    if found { Ok(()) } else { Err(Usage(format!("there is no program {}", path.display())).into()) }
}

pub(super) fn worker_name() -> anyhow::Result<WorkerName> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "worker" } else { host.trim() };
    Ok(WorkerName::new(format!("{host}/{}", std::process::id()))?)
}

struct CommandHandler(Arc<Command>);

impl Handler for CommandHandler {
    fn run(&self, job: Arc<LeasedJob>, context: JobContext) -> BoxFuture<'static, Outcome> {
        let command = self.0.clone();
        Box::pin(async move {
            match command.run(&job, &context).await {
                Ok(ended) => outcome(&ended),
                Err(error) => Outcome::retry(format!("the command could not be started: {error}")),
            }
        })
    }
}

/// The exit status decides. Status 0 is completion even after a SIGTERM: the command knows best.
fn outcome(ended: &Ended) -> Outcome {
    match (ended.status.code(), ended.told) {
        (Some(0), _) => Outcome::Complete(ended.stdout.result()),
        (_, Some(reason)) => Outcome::stopped(reason),
        (code, None) => Outcome::Fail(FailRequest {
            error: failure_text(ended),
            category: None,
            // Without a code it was killed, which says nothing about the job.
            retry: matches!(code, None | Some(75)),
            retry_in: None,
        }),
    }
}

pub(super) fn failure_text(ended: &Ended) -> String {
    match ended.stderr.text() {
        text if text.is_empty() => format!("the command ended with {}", ended.status),
        text => text,
    }
}

/// Says on stderr, or as JSON lines on stdout, what the worker does.
struct Reporter {
    paint: Paint,
    json: bool,
    started: Mutex<BTreeMap<JobId, Instant>>,
}

impl Reporter {
    fn say(&self, job: &LeasedJob, what: &str, text: impl std::fmt::Display, more: &serde_json::Value) {
        if self.json {
            let mut line = serde_json::json!({
                "event": what, "job_id": job.job.id, "type": job.job.job_type, "attempt": job.attempt,
            });
            if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
                line.extend(more.clone());
            }
            let _ = output::line(line);
        } else {
            let err = self.paint.err();
            eprintln!("{} {} {text}", err.bold(&job.job.job_type), output::short(job.job.id));
        }
    }
}

impl Observer for Reporter {
    fn leased(&self, job: &LeasedJob) {
        self.started.lock().expect("no panic while held").insert(job.job.id, Instant::now());
        let again =
            if job.attempt > 1 { format!("started, attempt {}", job.attempt) } else { "started".into() };
        self.say(job, "leased", self.paint.err().blue(again), &serde_json::json!({}));
    }

    fn stopping(&self, job: &LeasedJob, reason: StopReason) {
        let why = match reason {
            StopReason::Cancelled => "was cancelled: stopping it",
            StopReason::LeaseLost => "lost its lease: stopping it",
            StopReason::Shutdown => "is stopped and given back",
        };
        self.say(job, "stopping", self.paint.err().yellow(why), &serde_json::json!({ "reason": why }));
    }

    fn ended(&self, job: &LeasedJob, ending: &Ending) {
        let started = self.started.lock().expect("no panic while held").remove(&job.job.id);
        let took = started.map_or(0.0, |at| at.elapsed().as_secs_f64());
        let more = serde_json::json!({ "seconds": (took * 1_000.0).round() / 1_000.0 });
        let err = self.paint.err();
        match ending {
            Ending::Completed => {
                self.say(job, "completed", err.green(format_args!("completed in {took:.1} s")), &more);
            }
            Ending::Failed { error, retry } => {
                let last = error.lines().next_back().unwrap_or_default();
                let text = if *retry { "failed, to be tried again" } else { "failed" };
                self.say(job, "failed", format_args!("{}: {last}", err.red(text)), &more);
            }
            Ending::Released => self.say(job, "released", err.yellow("given back"), &more),
            Ending::Lost => self.say(job, "lost", err.yellow("lost its lease: nothing reported"), &more),
            Ending::Unreported { why } => {
                self.say(
                    job,
                    "unreported",
                    format_args!("{}: {why}", err.red("could not be reported")),
                    &more,
                );
            }
        }
    }

    fn waiting(&self, error: &ClientError, delay: Duration) {
        eprintln!(
            "{}",
            self.paint.err().yellow(format_args!("-- {error}; asking again in {:.1} s", delay.as_secs_f64()))
        );
    }
}
