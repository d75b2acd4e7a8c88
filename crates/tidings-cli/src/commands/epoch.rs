use std::process::ExitCode;

use clap::{Args, Subcommand};
use tidings_core::TenantId;
use tidings_server::offline;

use super::config::StoreSettings;
use crate::output::{self, Paint};

/// Give histories new names after a restore, before the servers start.
#[derive(Debug, Args)]
#[command(after_help = "\
A history that was set back holds other events under numbers that readers have seen. With a new epoch every cursor into \
the old one is answered by a reset instead of silently continuing. Renew after restoring a backup of the database by \
hand, while no server runs; `tidings tenants renew-epoch` does the same to one tenant of a running server.

Examples:
  tidings epoch renew --all --store-file /etc/tidings/store
  tidings epoch renew --tenant acme --data /var/lib/tidings")]
pub(crate) struct Epoch {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Renew, and print each tenant that has a new epoch.
    Renew(Renew),
}

#[derive(Debug, Args)]
struct Renew {
    /// All tenants.
    #[arg(long, conflicts_with = "tenant", required_unless_present = "tenant")]
    all: bool,
    /// One tenant.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    #[command(flatten)]
    settings: StoreSettings,
}

impl Epoch {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        let Action::Renew(Renew { tenant, settings, .. }) = self.action;
        let config = settings.load()?.config;
        let mut count = 0;
        let mut printed = Ok(());
        offline::renew_epochs(&config, tenant, |tenant| {
            count += 1;
            if printed.is_ok() {
                printed = output::line(tenant);
            }
        })
        .await?;
        printed?;
        eprintln!("{}", paint.err().dim(format_args!("{count} with a new epoch")));
        Ok(ExitCode::SUCCESS)
    }
}
