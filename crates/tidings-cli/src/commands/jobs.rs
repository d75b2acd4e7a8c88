mod enqueue;
mod list;
mod watch;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tidings_core::{Cursor, JobId, Seq, Verbosity};

use crate::{
    args::TargetArgs,
    output::{self, EventLine, Paint},
};

pub(super) use enqueue::payload;

/// Enqueue, list, watch, cancel and retry jobs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings jobs enqueue embedding '{\"note\":42}' --subject note/42 --watch
  ls docs/*.md | jq -R '{file:.}' -c | tidings jobs enqueue index -
  tidings jobs list --state running
  tidings jobs show 019ab0c4-0000-7000-8000-000000000000
  tidings jobs queues")]
pub(crate) struct Jobs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Enqueue one job, or one per line of stdin.
    Enqueue(enqueue::Enqueue),
    /// List jobs, newest first.
    List(list::List),
    /// Depth and age of each type's queue.
    Queues {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show a job as JSON.
    Show {
        id: JobId,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Cancel a job: at once while it waits, by asking its worker while it runs.
    Cancel {
        id: JobId,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Do a finished job's work again, as a new job.
    Retry {
        id: JobId,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Print a job's events so far.
    Events {
        id: JobId,
        /// Print each event's JSON.
        #[arg(long)]
        json: bool,
        #[arg(long, value_name = "LEVEL")]
        verbosity: Option<Verbosity>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Watch a job until it ends; the exit status is 0 only if it completed.
    Watch {
        id: JobId,
        /// Print each event's JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
}

impl Jobs {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Enqueue(enqueue) => return enqueue.run(paint).await,
            Action::List(list) => list.run(paint).await?,
            Action::Queues { json, target } => list::queues(json, &target).await?,
            Action::Show { id, target } => output::line(target.connect().await?.job(id).await?.text())?,
            Action::Cancel { id, target } => {
                let job = target.connect().await?.cancel_job(id).await?;
                let asked = if job.cancel_requested { ": its worker was asked to stop" } else { "" };
                eprintln!("{id} {}{asked}", job.state);
            }
            Action::Retry { id, target } => {
                let job = target.connect().await?.retry_job(id, None).await?;
                output::line(job.id)?;
            }
            Action::Events { id, json, verbosity, target } => {
                events(id, json, verbosity, &target, paint).await?;
            }
            Action::Watch { id, json, target } => {
                let client = target.connect().await?;
                let job = client.job(id).await?;
                return watch::watch(&client, &job, json, paint).await;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn events(
    id: JobId,
    json: bool,
    verbosity: Option<Verbosity>,
    target: &TargetArgs,
    paint: Paint,
) -> anyhow::Result<()> {
    let client = target.connect().await?;
    let mut since = Cursor::bare(Seq::ZERO);
    loop {
        let page = client.job_events(id, Some(&since), verbosity).await?;
        for event in &page.events {
            if json {
                output::line(event.text())?;
            } else {
                output::line(EventLine { event, palette: paint.out(), width: super::tail::width() })?;
            }
        }
        if page.events.is_empty() || page.next.seq <= since.seq {
            return Ok(());
        }
        since = page.next;
    }
}
