use std::{collections::HashSet, time::Duration};

use clap::Args;
use serde_json::value::RawValue;
use tidings_client::{Client, DeliveriesRequest};
use tidings_core::EndpointId;

use super::deliveries::line;
use crate::{args::TargetArgs, commands::signals, output};

/// Between two looks at the log of attempts.
const EVERY: Duration = Duration::from_secs(1);
/// Attempts of one look; what is beyond so many pages is passed over, and said to be.
const PAGE: u32 = 200;
const PAGES_MAX: usize = 10;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings webhooks tail 019ab0c4-…
  tidings webhooks tail 019ab0c4-… --json | jq 'select(.failure)'")]
pub(super) struct Tail {
    id: EndpointId,
    /// Print one JSON object per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Tail {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.target.connect().await?;
        let shutdown = signals::shutdown()?;
        tokio::select! {
            ended = self.follow(&client) => ended,
            () = output::unread() => Ok(()),
            () = shutdown.cancelled() => Ok(()),
        }
    }

    async fn follow(&self, client: &Client) -> anyhow::Result<()> {
        // What was there before is not told.
        let mut seen = texts(&look(client, self.id, 1).await?);
        loop {
            tokio::time::sleep(EVERY).await;
            let mut fresh = Vec::new();
            let mut met = seen.is_empty();
            for pages in 1..=PAGES_MAX {
                fresh = look(client, self.id, pages).await?;
                met |= fresh.iter().any(|attempt| seen.contains(attempt.get()));
                if met || fresh.len() < pages * PAGE as usize {
                    break;
                }
            }
            if !met && fresh.len() == PAGES_MAX * PAGE as usize {
                eprintln!("more attempts than can be followed: some are left out");
            }
            for attempt in fresh.iter().rev().filter(|attempt| !seen.contains(attempt.get())) {
                line(attempt, self.json)?;
            }
            if !fresh.is_empty() {
                seen = texts(&fresh);
            }
        }
    }
}

fn texts(attempts: &[Box<RawValue>]) -> HashSet<String> {
    attempts.iter().map(|attempt| attempt.get().to_owned()).collect()
}

/// The newest attempts.
async fn look(client: &Client, id: EndpointId, pages: usize) -> anyhow::Result<Vec<Box<RawValue>>> {
    let mut request = DeliveriesRequest { limit: Some(PAGE), ..Default::default() };
    let mut all = Vec::new();
    for _ in 0..pages {
        let page = client.webhook_deliveries(id, &request).await?;
        all.extend(page.deliveries);
        request.cursor = page.next;
        if request.cursor.is_none() {
            break;
        }
    }
    Ok(all)
}
