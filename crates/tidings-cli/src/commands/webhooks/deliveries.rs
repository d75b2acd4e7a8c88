use clap::Args;
use serde_json::{Value, value::RawValue};
use tidings_client::DeliveriesRequest;
use tidings_core::{EndpointId, Seq};

use crate::{args::TargetArgs, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings webhooks deliveries 019ab0c4-…                    its newest attempts
  tidings webhooks deliveries 019ab0c4-… --seq 4711         every attempt of one event
  tidings webhooks deliveries 019ab0c4-… --state dead --json | jq .body")]
pub(super) struct Deliveries {
    id: EndpointId,
    /// Events that are retrying or dead, by seq, instead of attempts.
    #[arg(long, value_parser = ["retrying", "dead"])]
    state: Option<String>,
    /// Only attempts of this event.
    #[arg(long, conflicts_with = "state")]
    seq: Option<u64>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Deliveries {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.target.connect().await?;
        let mut left = self.limit;
        let mut request = DeliveriesRequest {
            state: self.state.clone(),
            seq: self.seq.map(Seq::new),
            ..Default::default()
        };
        while left > 0 {
            request.limit = Some(left.min(1_000) as u32);
            let page = client.webhook_deliveries(self.id, &request).await?;
            left = left.saturating_sub(page.deliveries.len() as u64);
            page.deliveries.iter().try_for_each(|delivery| line(delivery, self.json))?;
            request.cursor = page.next;
            if request.cursor.is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// One attempt, or one event that is retried or dead.
pub(super) fn line(delivery: &RawValue, json: bool) -> anyhow::Result<()> {
    if json {
        return Ok(output::line(delivery.get())?);
    }
    let fields: Value = serde_json::from_str(delivery.get())?;
    let text = |name: &str| match &fields[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let tries = text(if fields["attempt"].is_null() { "attempts" } else { "attempt" });
    let came = match (text("status"), text("failure")) {
        (status, failure) if failure.is_empty() => format!("{status} delivered"),
        (status, failure) => format!("{status} {failure}"),
    };
    let came = if fields["state"].is_null() { came } else { text("state") };
    let next = fields["next_at"].as_str().map(|at| format!("  next {at}")).unwrap_or_default();
    let latency = fields["latency_ms"].as_u64().map(|ms| format!("  {ms} ms")).unwrap_or_default();
    output::line(format_args!(
        "{:<28} seq {:<8} try {tries:<3} {}{latency}{next}",
        text("at"),
        text("seq"),
        came.trim()
    ))?;
    Ok(())
}
