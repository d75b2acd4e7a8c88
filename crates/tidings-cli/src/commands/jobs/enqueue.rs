use std::{io::BufRead as _, process::ExitCode, time::Duration};

use clap::Args;
use tidings_client::{Client, EnqueueRequest, JobView};
use tidings_core::{
    Clock as _, JobType, RawJson, Subject, SystemClock, Timestamp, UniqueKey, UserId, parse_duration,
};

use crate::{
    args::TargetArgs,
    commands::publish::{BATCH, bad_line, repeating},
    exit::Usage,
    output::{self, Paint},
};

/// Enqueue one job, or one per line of stdin.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings jobs enqueue embedding '{\"note\":42}' --subject note/42 --watch
  tidings jobs enqueue report --in 10m --unique-key weekly
  jq -c '.[]' notes.json | tidings jobs enqueue embedding -     one job per line, whose JSON is its payload")]
pub(super) struct Enqueue {
    /// What kind of work it is: workers lease by type.
    #[arg(value_name = "TYPE")]
    job_type: JobType,
    /// The payload as JSON (anything else is taken as a text), or - for one per line of stdin.
    payload: Option<String>,
    /// What it is about, such as note/42.
    #[arg(long)]
    subject: Option<Subject>,
    /// Whose it is; your credential's user by default.
    #[arg(long)]
    owner: Option<UserId>,
    /// Higher runs first (-1000 to 1000).
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<i16>,
    /// Not before this time, such as 2026-11-23T07:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "delay", value_parser = Timestamp::parse)]
    run_at: Option<Timestamp>,
    /// Not before so long from now, such as 10m.
    #[arg(long = "in", value_name = "DURATION", id = "delay", value_parser = parse_duration)]
    delay: Option<Duration>,
    /// While a job with this key lives, a repeat returns that job.
    #[arg(long, value_name = "KEY")]
    unique_key: Option<UniqueKey>,
    /// Attempts at most (1 to 100).
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// Watch it until it ends; the exit status is 0 only if it completed.
    #[arg(long)]
    watch: bool,
    /// Print the job's whole JSON instead of its id.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Enqueue {
    pub(super) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        let client = self.target.connect().await?;
        if self.payload.as_deref() == Some("-") {
            if self.watch {
                return Err(Usage("--watch watches one job; with - there are many".into()).into());
            }
            self.enqueue_lines(&client).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let payload = self.payload.as_deref().map(payload).transpose()?;
        let job =
            repeating(async |key: &str| client.enqueue(&self.request(payload.clone()), Some(key)).await)
                .await?;
        if !(self.watch && self.json) {
            self.print(&job)?;
        }
        if self.watch {
            return super::watch::watch(&client, &job, self.json, paint).await;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn request(&self, payload: Option<RawJson>) -> EnqueueRequest {
        let run_at = self.run_at.or_else(|| self.delay.map(|delay| SystemClock.now() + delay));
        EnqueueRequest {
            payload,
            run_at,
            priority: self.priority,
            unique_key: self.unique_key.clone(),
            max_attempts: self.max_attempts,
            owner: self.owner.clone(),
            subject: self.subject.clone(),
            ..EnqueueRequest::new(self.job_type.clone())
        }
    }

    async fn enqueue_lines(&self, client: &Client) -> anyhow::Result<()> {
        let bar = output::counting(None, "jobs");
        let mut batch = Vec::new();
        let mut lines = std::io::stdin().lock().lines().zip(1..);
        loop {
            let next = lines.next();
            let ended = next.is_none();
            if let Some((line, number)) = next {
                let line = line.map_err(|e| bad_line(number, bar.position(), e))?;
                if !line.trim().is_empty() {
                    let payload = payload(&line).map_err(|e| bad_line(number, bar.position(), e))?;
                    batch.push(self.request(Some(payload)));
                }
            }
            if batch.len() >= BATCH || (ended && !batch.is_empty()) {
                let jobs = repeating(async |key: &str| client.enqueue_many(&batch, Some(key)).await).await?;
                bar.inc(jobs.len() as u64);
                bar.suspend(|| jobs.iter().try_for_each(|job| self.print(job)))?;
                batch.clear();
            }
            if ended {
                bar.finish_and_clear();
                return Ok(());
            }
        }
    }

    fn print(&self, job: &JobView) -> std::io::Result<()> {
        if self.json { output::line(job.text()) } else { output::line(job.id) }
    }
}

/// JSON where it is JSON; any other text is a JSON text.
pub(crate) fn payload(text: &str) -> anyhow::Result<RawJson> {
    let looks_like_json = text.trim_start().starts_with(['{', '[', '"']);
    match RawJson::parse(text) {
        Ok(json) => Ok(json),
        // What starts like JSON was meant to be JSON.
        Err(error) if looks_like_json => {
            let place = serde_json::from_str::<serde::de::IgnoredAny>(text).err();
            let why = place.map_or_else(|| error.to_string(), |place| place.to_string());
            Err(Usage(format!("what starts like JSON is not valid JSON: {why}")).into())
        }
        Err(_) => Ok(RawJson::from_value(&text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_a_text_but_broken_json_is_a_mistake() {
        assert_eq!(payload("{\"a\": 1}").expect("JSON").as_str(), "{\"a\":1}");
        assert_eq!(payload("42").expect("JSON").as_str(), "42");
        assert_eq!(payload("hello there").expect("text").as_str(), "\"hello there\"");
        assert_eq!(crate::exit::code(&payload("{\"a\": ").expect_err("broken")), crate::exit::USAGE);
    }
}
