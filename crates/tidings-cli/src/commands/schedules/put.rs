use clap::{Args, ValueEnum};
use tidings_client::{ScheduleRequest, ScheduledJob};
use tidings_core::{JobType, ScheduleName, Subject, UserId};

use crate::{
    args::TargetArgs,
    commands::jobs::payload,
    output::{self, Paint},
};

/// Make a schedule, or replace what the one of that name does.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings schedules put reports.nightly '30 2 * * MON-FRI' report '{\"to\":\"ana\"}' --zone Europe/Berlin
  tidings schedules put sync '*/10 * * * *' sync --overlap skip
  tidings schedules put cleanup @weekly cleanup --max-attempts 1")]
pub(super) struct Put {
    /// What it is called in its tenant, such as reports.nightly.
    name: ScheduleName,
    /// When: minute, hour, day of month, month, day of week; or @hourly, @daily, @weekly, @monthly, @yearly.
    cron: String,
    /// What kind of work its jobs are.
    #[arg(value_name = "TYPE")]
    job_type: JobType,
    /// Their payload as JSON (anything else is taken as a text).
    payload: Option<String>,
    /// The time zone whose wall clock counts, such as Europe/Berlin [default: UTC].
    #[arg(long)]
    zone: Option<String>,
    /// What happens while the job of an earlier time is not finished [default: allow].
    #[arg(long)]
    overlap: Option<Overlap>,
    /// What its jobs are about, such as report/eu.
    #[arg(long)]
    subject: Option<Subject>,
    /// Whose they are; your credential's user by default.
    #[arg(long)]
    owner: Option<UserId>,
    /// Higher runs first (-1000 to 1000).
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i16>,
    /// Attempts at most (1 to 100).
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// Print the schedule's JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Overlap {
    /// Another job is enqueued beside it.
    Allow,
    /// Nothing is enqueued.
    Skip,
}

impl Put {
    pub(super) async fn run(self, paint: Paint) -> anyhow::Result<()> {
        let request = ScheduleRequest {
            name: self.name,
            cron: self.cron,
            zone: self.zone,
            overlap: self.overlap.map(|overlap| {
                match overlap {
                    Overlap::Allow => "allow",
                    Overlap::Skip => "skip",
                }
                .to_owned()
            }),
            job: ScheduledJob {
                payload: self.payload.as_deref().map(payload).transpose()?,
                priority: self.priority,
                max_attempts: self.max_attempts,
                owner: self.owner,
                subject: self.subject,
                ..ScheduledJob::new(self.job_type)
            },
        };
        let schedule = self.target.connect().await?.put_schedule(&request).await?;
        if self.json {
            output::line(schedule.text())?;
        } else if schedule.paused {
            eprintln!("{} is paused", paint.err().bold(&schedule.name));
        } else {
            let next = super::moment(schedule.next_fire_at);
            eprintln!("{} fires next {next}", paint.err().bold(&schedule.name));
        }
        Ok(())
    }
}
