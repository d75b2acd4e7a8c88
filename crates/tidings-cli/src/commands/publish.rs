use std::{
    io::{BufRead as _, IsTerminal as _},
    process::ExitCode,
};

use clap::Args;
use serde::Deserialize;
use tidings_client::{Backoff, Client, ClientError, PublishRequest, Published};
use tidings_core::{Entropy as _, RawJson, Subject, SystemEntropy, UserId};

use crate::{
    args::TargetArgs,
    commands::jobs,
    exit::Usage,
    output::{self, Paint},
};

/// Items of one request: well below the server's limit of 1,000, so that one is soon committed.
pub(super) const BATCH: usize = 500;

/// Bytes of data of one request; the server takes bodies up to 1 MiB.
const BATCH_BYTES: usize = 512 << 10;

/// Publish events.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings publish note.created '{\"id\":42}' --subject note/42
  tidings publish deploy.finished
  jq -c '.[]' readings.json | tidings publish sensor.reading -      the data of one event per line
  tidings publish - < events.jsonl                                  whole events: {\"type\":…,\"data\":…,\"subject\":…}")]
pub(crate) struct Publish {
    /// The event's type: any dotted lower-case name outside job., webhook. and stream.; or - for whole
    /// events from stdin.
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// Its data as JSON (anything else is taken as a text; null by default), or - for one per line of stdin.
    data: Option<String>,
    /// What it is about, such as note/42.
    #[arg(long)]
    subject: Option<Subject>,
    /// Whose it is; your credential's user by default.
    #[arg(long)]
    owner: Option<UserId>,
    /// Print {"id","seq","time"} for each.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// One line of `tidings publish -`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default = "RawJson::null")]
    data: RawJson,
    subject: Option<Subject>,
    owner: Option<UserId>,
}

impl Publish {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        let whole = self.event_type == "-";
        if whole && self.data.is_some() {
            return Err(Usage("with - the data comes from stdin".into()).into());
        }
        let client = self.target.connect().await?;
        if whole || self.data.as_deref() == Some("-") {
            self.publish_lines(&client, whole, paint).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let data = self.data.as_deref().map_or_else(|| Ok(RawJson::null()), jobs::payload)?;
        let event = self.event(data);
        let published = repeating(async |key: &str| client.publish(&event, Some(key)).await).await?;
        if self.json {
            output::line(serde_json::to_string(&published)?)?;
        } else {
            output::line(format_args!(
                "{} {}",
                paint.out().bold(published.seq),
                paint.out().dim(published.id)
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn event(&self, data: RawJson) -> PublishRequest {
        let event_type = self.event_type.clone();
        PublishRequest { event_type, data, subject: self.subject.clone(), owner: self.owner.clone() }
    }

    fn line(&self, text: &str, whole: bool) -> anyhow::Result<PublishRequest> {
        if !whole {
            return Ok(self.event(jobs::payload(text)?));
        }
        let line: Line = serde_json::from_str(text).map_err(|e| Usage(format!("it is no event: {e}")))?;
        Ok(PublishRequest {
            event_type: line.event_type,
            data: line.data,
            subject: line.subject.or_else(|| self.subject.clone()),
            owner: line.owner.or_else(|| self.owner.clone()),
        })
    }

    async fn publish_lines(&self, client: &Client, whole: bool, paint: Paint) -> anyhow::Result<()> {
        let bar = output::counting(None, "events");
        let (mut batch, mut bytes, mut total) = (Vec::new(), 0, 0_u64);
        let mut last: Option<Published> = None;
        let mut lines = std::io::stdin().lock().lines().zip(1..);
        loop {
            let next = lines.next();
            let ended = next.is_none();
            if let Some((line, number)) = next {
                let line = line.map_err(|e| bad_line(number, total, e))?;
                if !line.trim().is_empty() {
                    let event = self.line(&line, whole).map_err(|e| bad_line(number, total, e))?;
                    bytes += line.len() + 128;
                    batch.push(event);
                }
            }
            let full = batch.len() >= BATCH || bytes >= BATCH_BYTES;
            if full || (ended && !batch.is_empty()) {
                let published =
                    repeating(async |key: &str| client.publish_many(&batch, Some(key)).await).await?;
                if self.json {
                    bar.suspend(|| published.iter().try_for_each(|p| output::line(serde_json::json!(p))))?;
                }
                bar.inc(published.len() as u64);
                total += published.len() as u64;
                last = published.into_iter().next_back().or(last);
                batch.clear();
                bytes = 0;
            }
            if ended {
                break;
            }
        }
        bar.finish_and_clear();
        if !self.json || std::io::stderr().is_terminal() {
            let up_to = last.map(|p| format!(", the last is {}", p.seq)).unwrap_or_default();
            eprintln!("{} events published{up_to}", paint.err().bold(total));
        }
        Ok(())
    }
}

/// What is wrong with a line of stdin, and how much of what stands before it was sent.
pub(super) fn bad_line(number: u64, sent: u64, why: impl std::fmt::Display) -> Usage {
    Usage(format!("line {number} of stdin: {why} (before it, {sent} were sent)"))
}

/// Repeats a request that may be repeated under one idempotency key until it is answered: nothing is
/// done twice.
pub(super) async fn repeating<T>(
    request: impl AsyncFn(&str) -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let key = idempotency_key();
    let backoff = Backoff { tries: Some(6), ..Backoff::default() };
    let mut failures = 0;
    loop {
        let error = match request(&key).await {
            Err(error) if error.is_temporary() => error,
            other => return other,
        };
        failures += 1;
        match backoff.delay(failures, error.retry_after(), &SystemEntropy) {
            // A server that was never there is not waited for.
            Some(delay) if !is_refused_connection(&error) => tokio::time::sleep(delay).await,
            _ => return Err(error),
        }
    }
}

fn is_refused_connection(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { source, .. } if source.is_connect())
}

fn idempotency_key() -> String {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes);
    bytes.iter().fold(String::from("cli-"), |text, byte| text + &format!("{byte:02x}"))
}
