use std::process::ExitCode;

use clap::Args;
use tidings_server::offline;

use super::config::StoreSettings;
use crate::exit;

/// Bring the store's schema up to date. A server that starts does the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Any number may run at once: one takes the steps, the others wait. The release before this one still runs on the new \
schema, so that servers may be replaced one after the other. The embedded store can only be migrated while its server is stopped.

Examples:
  tidings migrate --store-file /etc/tidings/store
  tidings migrate --check --config /etc/tidings.toml || echo \"there is something to do\"")]
pub(crate) struct Migrate {
    /// Change nothing: end with 0 where there is nothing to do, with 6 where there is.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    settings: StoreSettings,
}

impl Migrate {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.settings.load()?.config;
        let before = offline::schema(&config).await?;
        if before.found >= before.known {
            let newer = if before.found > before.known {
                ", of a newer release that this one runs beside"
            } else {
                ""
            };
            eprintln!("the schema is up to date (step {}{newer})", before.found);
            return Ok(ExitCode::SUCCESS);
        }
        if self.check {
            eprintln!("the schema is at step {} of {}", before.found, before.known);
            return Ok(ExitCode::from(exit::TO_DO));
        }
        offline::migrate(&config).await?;
        eprintln!("the schema went from step {} to {}", before.found, before.known);
        Ok(ExitCode::SUCCESS)
    }
}
