use clap::Args;
use tidings_client::WebhookReplay;
use tidings_core::{EndpointId, Seq, Timestamp};

use crate::args::TargetArgs;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings webhooks replay 019ab0c4-… --failures                      every dead letter
  tidings webhooks replay 019ab0c4-… --seq 4711
  tidings webhooks replay 019ab0c4-… --from 4000 --to 4999
  tidings webhooks replay 019ab0c4-… --since 2026-11-23T07:00:00Z")]
pub(super) struct Replay {
    id: EndpointId,
    #[command(flatten)]
    what: What,
    /// The last seq of --from's range; the head where it is not given.
    #[arg(long, requires = "from")]
    to: Option<u64>,
    /// The end of --since's time; now where it is not given.
    #[arg(long, requires = "since", value_parser = Timestamp::parse)]
    until: Option<Timestamp>,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Every dead letter.
    #[arg(long)]
    failures: bool,
    /// One event.
    #[arg(long)]
    seq: Option<u64>,
    /// A range of the log, from this seq on.
    #[arg(long)]
    from: Option<u64>,
    /// What happened since this time.
    #[arg(long, value_parser = Timestamp::parse)]
    since: Option<Timestamp>,
}

impl Replay {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let what = match self.what {
            What { seq: Some(seq), .. } => WebhookReplay::Event { seq: Seq::new(seq) },
            What { from: Some(from), .. } => {
                WebhookReplay::Range { from: Seq::new(from), to: self.to.map(Seq::new) }
            }
            What { since: Some(since), .. } => WebhookReplay::Time { since, until: self.until },
            What { .. } => WebhookReplay::Failures { failures: true },
        };
        let count = self.target.connect().await?.replay_webhook(self.id, &what).await?;
        eprintln!("{count} to go through");
        Ok(())
    }
}
