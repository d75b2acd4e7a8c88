use std::process::ExitCode;

use clap::Args;
use tidings_core::EndpointId;

use crate::{args::TargetArgs, exit, output};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings webhooks test 019ab0c4-…

The event is webhook.test with seq 0. It is in no log, and is sent in whatever state the endpoint is. The exit status is 0 \
where the receiver took it, else 1.")]
pub(super) struct Test {
    id: EndpointId,
    #[command(flatten)]
    target: TargetArgs,
}

impl Test {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let came = self.target.connect().await?.test_webhook(self.id).await?;
        let status = came.status.map(|status| format!(", status {status}")).unwrap_or_default();
        let what = match &came.failure {
            None => "delivered".to_owned(),
            Some(failure) => format!("not delivered ({failure})"),
        };
        output::line(format_args!("{what}{status}, {} ms", came.latency_ms))?;
        if let Some(answer) = &came.answer {
            // A receiver's words are no commands to this terminal.
            output::line(answer.escape_debug())?;
        }
        Ok(if came.delivered { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILURE) })
    }
}
