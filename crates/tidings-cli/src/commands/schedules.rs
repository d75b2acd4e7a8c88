mod put;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tidings_client::ScheduleView;
use tidings_core::{ScheduleName, Timestamp};

use crate::{
    args::TargetArgs,
    commands::publish::repeating,
    output::{self, Paint},
};

/// Enqueue jobs again and again, at times that cron expressions say.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings schedules put reports.nightly '30 2 * * MON-FRI' report '{\"to\":\"ana\"}' --zone Europe/Berlin
  tidings schedules put sync @hourly sync --overlap skip
  tidings schedules list
  tidings schedules show reports.nightly
  tidings schedules pause reports.nightly
  tidings schedules trigger reports.nightly      its job, now")]
pub(crate) struct Schedules {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List schedules by name.
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show a schedule and its next times.
    Show {
        name: ScheduleName,
        /// Print its JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Make a schedule, or replace what the one of that name does.
    Put(put::Put),
    /// Let nothing fire until it is resumed.
    Pause {
        name: ScheduleName,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Fire again, from its next time on; what fell into the pause is not caught up on.
    Resume {
        name: ScheduleName,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Enqueue its job now, whatever its times are; prints the job's id.
    Trigger {
        name: ScheduleName,
        /// Print the job's whole JSON instead of its id.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Delete a schedule. Jobs that it enqueued stay.
    Delete {
        name: ScheduleName,
        #[command(flatten)]
        target: TargetArgs,
    },
}

impl Schedules {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        let told = |what: &str, name: &ScheduleName| eprintln!("{} {what}", paint.err().bold(name));
        match self.action {
            Action::List { json, target } => list(json, &target).await?,
            Action::Show { name, json, target } => {
                let schedule = target.connect().await?.schedule(&name).await?;
                if json { output::line(schedule.text())? } else { show(&schedule)? }
            }
            Action::Put(put) => put.run(paint).await?,
            Action::Pause { name, target } => {
                target.connect().await?.pause_schedule(&name).await?;
                told("paused", &name);
            }
            Action::Resume { name, target } => {
                let schedule = target.connect().await?.resume_schedule(&name).await?;
                told(&format!("resumed, fires next {}", moment(schedule.next_fire_at)), &name);
            }
            Action::Trigger { name, json, target } => {
                let client = target.connect().await?;
                let job =
                    repeating(async |key: &str| client.trigger_schedule(&name, Some(key)).await).await?;
                if json { output::line(job.text())? } else { output::line(job.id)? }
            }
            Action::Delete { name, target } => {
                target.connect().await?.delete_schedule(&name).await?;
                told("deleted", &name);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(json: bool, target: &TargetArgs) -> anyhow::Result<()> {
    let client = target.connect().await?;
    let mut all: Vec<ScheduleView> = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.schedules(cursor.as_deref()).await?;
        all.extend(page.schedules);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if json {
        return Ok(all.iter().try_for_each(|schedule| output::line(schedule.text()))?);
    }
    let header = ["name", "cron", "zone", "type", "state", "next (utc)", "last (utc)", "owner"];
    output::line(output::table(header, all.iter().map(row)))?;
    Ok(())
}

fn row(schedule: &ScheduleView) -> [String; 8] {
    [
        schedule.name.to_string(),
        schedule.cron.clone(),
        schedule.zone.clone(),
        schedule.job.job_type.to_string(),
        state(schedule).to_owned(),
        moment(schedule.next_fire_at),
        moment(schedule.last_fire_at),
        schedule.job.owner.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}

fn show(schedule: &ScheduleView) -> std::io::Result<()> {
    let add = |what: &str, value: Option<String>| match value {
        Some(value) => output::line(format_args!("{what:<13} {value}")),
        None => Ok(()),
    };
    add("name", Some(schedule.name.to_string()))?;
    add("cron", Some(format!("{} ({})", schedule.cron, schedule.zone)))?;
    add("overlap", Some(schedule.overlap.clone()))?;
    add("state", Some(state(schedule).to_owned()))?;
    add("type", Some(schedule.job.job_type.to_string()))?;
    add("payload", schedule.job.payload.as_ref().map(|payload| payload.as_str().to_owned()))?;
    add("owner", schedule.job.owner.as_ref().map(ToString::to_string))?;
    add("subject", schedule.job.subject.as_ref().map(ToString::to_string))?;
    add("last", schedule.last_fire_at.map(|at| moment(Some(at))))?;
    add("last job", schedule.last_job_id.map(|id| id.to_string()))?;
    add("last skipped", schedule.last_skip_at.map(|at| moment(Some(at))))?;
    for (n, at) in schedule.upcoming.iter().enumerate() {
        add(if n == 0 { "next" } else { "" }, Some(moment(Some(*at))))?;
    }
    Ok(())
}

fn state(schedule: &ScheduleView) -> &'static str {
    if schedule.paused { "paused" } else { "active" }
}

/// To the second, in UTC.
fn moment(at: Option<Timestamp>) -> String {
    at.map(|at| format!("{}Z", at.to_string()[..19].replace('T', " "))).unwrap_or_default()
}
