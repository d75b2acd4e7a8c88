use std::process::ExitCode;

use clap::{Args, Subcommand};
use tidings_client::{Client, TenantView};
use tidings_core::TenantId;

use crate::{
    args::TargetArgs,
    exit::Usage,
    output::{self, Paint},
};

/// Make, list, suspend and delete tenants (operators only).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings tenants create acme
  tidings tenants list
  tidings tenants suspend acme
  tidings tenants delete acme --yes
  tidings tenants renew-epoch acme      after its data was restored from a backup")]
pub(crate) struct Tenants {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a tenant; one that exists is left as it is.
    Create { id: TenantId },
    /// List all tenants.
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Show one tenant as JSON.
    Show { id: TenantId },
    /// Refuse reads and writes and close live connections; nothing is deleted.
    Suspend { id: TenantId },
    /// Take a suspended tenant up again.
    Resume { id: TenantId },
    /// Delete a tenant with its events, jobs and keys, for good.
    ///
    /// Tokens that were signed for it count until they end. Where tenants.create is auto, the use of one makes the tenant anew,
    /// empty: suspend it instead until the last of them has ended, or set tenants.create to explicit.
    Delete {
        id: TenantId,
        /// Say that you mean it.
        #[arg(long)]
        yes: bool,
    },
    /// Give a tenant's history a new name, so that stale cursors are noticed.
    RenewEpoch { id: TenantId },
}

impl Tenants {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        // These routes name their tenant themselves.
        let (client, _) = TargetArgs { tenant: None, ..self.target }.client()?;
        let done = |what: &str, id: &TenantId| eprintln!("{} {what}", paint.err().bold(id));
        match self.action {
            Action::Create { id } => {
                client.create_tenant(&id).await?;
                done("created", &id);
            }
            Action::List { json } => list(&client, json).await?,
            Action::Show { id } => output::line(serde_json::to_string(&client.tenant_view(&id).await?)?)?,
            Action::Suspend { id } => {
                client.suspend_tenant(&id).await?;
                done("suspended", &id);
            }
            Action::Resume { id } => {
                client.resume_tenant(&id).await?;
                done("resumed", &id);
            }
            Action::Delete { id, yes: false } => {
                let message =
                    format!("deleting {id} removes its events, jobs and keys for good; add --yes to do it");
                return Err(Usage(message).into());
            }
            Action::Delete { id, yes: true } => {
                client.delete_tenant(&id).await?;
                done("deleted", &id);
            }
            Action::RenewEpoch { id } => {
                client.renew_epoch(&id).await?;
                done("has a new epoch", &id);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let mut all: Vec<TenantView> = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.tenants(cursor.as_deref()).await?;
        all.extend(page.tenants);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if json {
        for tenant in all {
            output::line(serde_json::to_string(&tenant)?)?;
        }
        return Ok(());
    }
    let rows = all.into_iter().map(|t| {
        [
            t.id.to_string(),
            t.state,
            t.epoch,
            t.head.to_string(),
            t.oldest.to_string(),
            t.created_at.to_string(),
        ]
    });
    output::line(output::table(["id", "state", "epoch", "head", "oldest", "created"], rows))?;
    Ok(())
}
