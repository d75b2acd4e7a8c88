use std::{
    ffi::OsString,
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::Args;
use futures_util::future::BoxFuture;
use tidings_client::{
    EnqueueRequest, FailRequest, LeasedJob,
    worker::{Ending, Handler, JobContext, Outcome, Unobserved, Worker, WorkerConfig},
};
use tidings_core::{JobType, RawJson, Subject, UserId, parse_duration};

use super::{signals, work};
use crate::{
    args::TargetArgs,
    child::{Command, Echo, Ended, Guard, Stdin},
    exit,
    output::Paint,
};

/// Run one command as a job, here and now.
#[derive(Debug, Args)]
#[command(after_help = "\
The job is this process's from the first moment: no worker can take it. The command has this terminal's stdin, stdout \
and stderr; what it prints up to 64 KiB is the job's result, and lines like {\"percent\":40,\"message\":\"…\"} on \
descriptor 3 are its progress. The exit status is the command's own (128 + signal if it was killed), whatever becomes \
of the report; 0 completes the job, anything else fails it for good.

Examples:
  tidings exec --type export --subject db/main -- pg_dump -f dump.sql main
  tidings exec --type backup -- restic backup /home")]
pub(crate) struct Exec {
    /// The job's type.
    #[arg(long = "type", value_name = "TYPE")]
    job_type: JobType,
    /// What it is about, such as db/main.
    #[arg(long)]
    subject: Option<Subject>,
    /// Whose it is; your credential's user by default.
    #[arg(long)]
    owner: Option<UserId>,
    /// The job's payload as JSON; by default the name of the program.
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// Between SIGTERM and SIGKILL.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    grace: Duration,
    #[command(flatten)]
    target: TargetArgs,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Exec {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        work::find_program(&self.command[0])?;
        let request = self.request()?;
        let client = self.target.connect().await?;
        let shutdown = signals::shutdown()?;
        let name = work::worker_name()?;
        let guard = Guard::start()?;
        let job = client.lease_own(&name, &request).await?;
        let id = job.job.id;
        eprintln!("{}", paint.err().dim(format_args!("job {id}")));
        let mut config = WorkerConfig::new(name, vec![self.job_type]);
        config.grace = self.grace + Duration::from_secs(5);
        let status = Arc::new(Mutex::new(None));
        let command = Command {
            argv: self.command,
            stdin: Stdin::Inherited,
            echo: Echo::Plain,
            grace: self.grace,
            guard,
        };
        let handler = OneCommand { command: Arc::new(command), status: Arc::clone(&status) };
        let ending = Worker::new(client, config, handler, Unobserved).run_one(job, shutdown).await;
        match &ending {
            Ending::Completed | Ending::Failed { .. } | Ending::Released => {}
            Ending::Lost => {
                eprintln!("{}", paint.err().yellow("the job's lease was lost: how it ended is not recorded"));
            }
            Ending::Unreported { why } => {
                eprintln!(
                    "{}",
                    paint.err().yellow(format_args!("how the job ended could not be reported: {why}"))
                );
            }
        }
        let status = status.lock().expect("no panic while held").take();
        Ok(status.map_or(ExitCode::from(exit::FAILURE), code))
    }

    fn request(&self) -> anyhow::Result<EnqueueRequest> {
        // Arguments may hold what is nobody's business: only the program is named.
        let payload = match &self.payload {
            Some(text) => super::jobs::payload(text)?,
            None => RawJson::from_value(&serde_json::json!({ "command": self.command[0].to_string_lossy() })),
        };
        Ok(EnqueueRequest {
            payload: Some(payload),
            // No other worker knows how to run this.
            max_attempts: Some(1),
            owner: self.owner.clone(),
            subject: self.subject.clone(),
            ..EnqueueRequest::new(self.job_type.clone())
        })
    }
}

fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(exit::FAILURE))
}

struct OneCommand {
    command: Arc<Command>,
    status: Arc<Mutex<Option<ExitStatus>>>,
}

impl Handler for OneCommand {
    fn run(&self, job: Arc<LeasedJob>, context: JobContext) -> BoxFuture<'static, Outcome> {
        let (command, status) = (Arc::clone(&self.command), Arc::clone(&self.status));
        Box::pin(async move {
            match command.run(&job, &context).await {
                Ok(ended) => {
                    *status.lock().expect("no panic while held") = Some(ended.status);
                    outcome(&ended)
                }
                Err(error) => {
                    eprintln!("the command could not be started: {error}");
                    Outcome::fail(format!("the command could not be started: {error}"))
                }
            }
        })
    }
}

/// Nobody else can run it: whatever is not a success is a failure for good.
fn outcome(ended: &Ended) -> Outcome {
    if ended.status.success() {
        return Outcome::Complete(ended.stdout.result());
    }
    let category = ended.told.map(|_| tidings_core::Category::Cancelled);
    Outcome::Fail(FailRequest { error: work::failure_text(ended), category, retry: false, retry_in: None })
}
