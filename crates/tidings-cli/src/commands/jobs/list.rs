use clap::Args;
use tidings_client::{JobListRequest, JobView};
use tidings_core::{JobType, Subject, job::StateName};

use crate::{
    args::{TargetArgs, value},
    output::{self, Paint},
};

/// List jobs, newest first.
#[derive(Debug, Args)]
pub(super) struct List {
    /// scheduled, queued, running, completed, failed or cancelled.
    #[arg(long)]
    state: Option<StateName>,
    #[arg(long = "type", value_name = "TYPE")]
    job_type: Option<JobType>,
    /// A user, or me.
    #[arg(long)]
    owner: Option<String>,
    #[arg(long)]
    subject: Option<Subject>,
    /// Jobs at most.
    #[arg(long, default_value_t = 50, value_parser = value::at_least_one)]
    limit: usize,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl List {
    pub(super) async fn run(self, paint: Paint) -> anyhow::Result<()> {
        let client = self.target.connect().await?;
        let mut jobs: Vec<JobView> = Vec::new();
        let mut cursor = None;
        while jobs.len() < self.limit {
            let request = JobListRequest {
                state: self.state,
                job_type: self.job_type.clone(),
                owner: self.owner.clone(),
                subject: self.subject.clone(),
                limit: Some((self.limit - jobs.len()).min(100) as u32),
                cursor,
            };
            let page = client.jobs(&request).await?;
            jobs.extend(page.jobs);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        jobs.truncate(self.limit);
        if self.json {
            return Ok(jobs.iter().try_for_each(|job| output::line(job.text()))?);
        }
        output::line(output::table(
            ["id", "type", "state", "attempt", "created", "subject", "owner", "note"],
            jobs.iter().map(row),
        ))?;
        if cursor.is_some() {
            eprintln!("{}", paint.err().dim("there are more: --limit"));
        }
        Ok(())
    }
}

fn row(job: &JobView) -> [String; 8] {
    let text = |value: Option<String>| value.unwrap_or_default();
    let note = match (&job.error, job.percent) {
        (Some(error), _) => format!("{}: {}", error.category, error.message),
        (None, Some(percent)) if job.state == StateName::Running => format!("{percent}%"),
        _ => String::new(),
    };
    [
        job.id.to_string(),
        job.job_type.to_string(),
        job.state.to_string(),
        format!("{}/{}", job.attempt, job.max_attempts),
        job.created_at.to_string()[..19].replace('T', " "),
        text(job.subject.as_ref().map(ToString::to_string)),
        text(job.owner.as_ref().map(ToString::to_string)),
        note,
    ]
}

pub(super) async fn queues(json: bool, target: &TargetArgs) -> anyhow::Result<()> {
    let queues = target.connect().await?.queues().await?;
    if json {
        for queue in &queues {
            output::line(serde_json::json!({
                "type": queue.job_type, "scheduled": queue.scheduled, "queued": queue.queued,
                "running": queue.running, "oldest_due": queue.oldest_due,
                "finished_last_minute": queue.finished_last_minute,
            }))?;
        }
        return Ok(());
    }
    let rows = queues.iter().map(|q| {
        [
            q.job_type.to_string(),
            q.scheduled.to_string(),
            q.queued.to_string(),
            q.running.to_string(),
            q.finished_last_minute.to_string(),
            q.oldest_due.map(|at| at.to_string()).unwrap_or_default(),
        ]
    });
    output::line(output::table(["type", "scheduled", "queued", "running", "ended/min", "oldest due"], rows))?;
    Ok(())
}
