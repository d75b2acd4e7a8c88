use std::process::ExitCode;

use serde::Deserialize;
use tidings_client::{Client, Envelope, Item, JobView, Selection, Start, StreamRequest};
use tidings_core::{Cursor, EventType, Seq, Verbosity, job::StateName};

use crate::{
    exit,
    output::{self, EventLine, Paint},
};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Progress {
    percent: u64,
    message: Option<String>,
}

/// Shows a job's events until it ends. Succeeds only if it completed.
pub(super) async fn watch(
    client: &Client,
    job: &JobView,
    json: bool,
    paint: Paint,
) -> anyhow::Result<ExitCode> {
    if job.state.is_terminal() {
        return finish(client, job, job.state, json, paint).await;
    }
    // Progress messages need a scope that not everyone has.
    let detailed = follow(client, job, Some(Verbosity::Detail), json, paint).await;
    let state = match detailed {
        Err(error) if exit::code(&error) == exit::REFUSED => follow(client, job, None, json, paint).await?,
        other => other?,
    };
    finish(client, job, state, json, paint).await
}

async fn follow(
    client: &Client,
    job: &JobView,
    verbosity: Option<Verbosity>,
    json: bool,
    paint: Paint,
) -> anyhow::Result<StateName> {
    let selection = Selection::default().with("job_id", [job.id.to_string()]).at(verbosity);
    // Its newest event is shown too.
    let start = Start::After(Cursor::bare(Seq::new(job.seq.get().saturating_sub(1))));
    let mut events = client.stream(&StreamRequest { selection, start, ..StreamRequest::default() });
    let bar = output::percent(format!("{} {}", job.job_type, output::short(job.id)));
    while let Some(item) = events.next().await {
        let Item::Event(event) = item? else { continue };
        show(&event, &bar, json, paint)?;
        if let Some(state) = ended(&event.event_type) {
            bar.finish_and_clear();
            return Ok(state);
        }
    }
    anyhow::bail!("the stream ended before the job did")
}

fn show(event: &Envelope, bar: &indicatif::ProgressBar, json: bool, paint: Paint) -> std::io::Result<()> {
    if json {
        return bar.suspend(|| output::line(event.text()));
    }
    if event.event_type == EventType::JOB_PROGRESS && !bar.is_hidden() {
        let progress: Progress = event.data().unwrap_or_default();
        bar.set_position(progress.percent);
        bar.set_message(progress.message.unwrap_or_default());
        return Ok(());
    }
    let line = EventLine { event, palette: paint.out(), width: crate::commands::tail::width() };
    bar.suspend(|| output::line(line))
}

fn ended(event_type: &EventType) -> Option<StateName> {
    match event_type {
        t if *t == EventType::JOB_COMPLETED => Some(StateName::Completed),
        t if *t == EventType::JOB_FAILED => Some(StateName::Failed),
        t if *t == EventType::JOB_CANCELLED => Some(StateName::Cancelled),
        _ => None,
    }
}

async fn finish(
    client: &Client,
    job: &JobView,
    state: StateName,
    json: bool,
    paint: Paint,
) -> anyhow::Result<ExitCode> {
    if !json {
        let ended = client.job(job.id).await?;
        if let Some(error) = &ended.error {
            eprintln!("{} {}: {}", paint.err().red("failed:"), error.category, error.message);
        }
        if let Some(result) = &ended.result {
            output::line(result.as_str())?;
        }
    }
    Ok(if state == StateName::Completed { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILURE) })
}
