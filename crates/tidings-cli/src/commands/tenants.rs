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
}

/// A tenant, and the server that is asked.
#[derive(Debug, Args)]
struct One {
    id: TenantId,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a tenant; one that exists is left as it is.
    Create(One),
    /// List all tenants.
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show one tenant as JSON.
    Show(One),
    /// Refuse reads and writes and close live connections; nothing is deleted.
    Suspend(One),
    /// Take a suspended tenant up again.
    Resume(One),
    /// Delete a tenant with its events, jobs and keys, for good.
    ///
    /// Tokens that were signed for it count until they end. Where tenants.create is auto, the use of one makes the tenant anew,
    /// empty: suspend it instead until the last of them has ended, or set tenants.create to explicit.
    Delete {
        #[command(flatten)]
        one: One,
        /// Say that you mean it.
        #[arg(long)]
        yes: bool,
    },
    /// Give a tenant's history a new name, so that stale cursors are noticed.
    RenewEpoch(One),
}

impl Tenants {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        let done = |what: &str, id: &TenantId| eprintln!("{} {what}", paint.err().bold(id));
        match self.action {
            Action::Create(One { id, target }) => {
                client(target)?.create_tenant(&id).await?;
                done("created", &id);
            }
            Action::List { json, target } => list(&client(target)?, json).await?,
            Action::Show(One { id, target }) => {
                output::line(serde_json::to_string(&client(target)?.tenant_view(&id).await?)?)?;
            }
            Action::Suspend(One { id, target }) => {
                client(target)?.suspend_tenant(&id).await?;
                done("suspended", &id);
            }
            Action::Resume(One { id, target }) => {
                client(target)?.resume_tenant(&id).await?;
                done("resumed", &id);
            }
            Action::Delete { one: One { id, .. }, yes: false } => {
                let message =
                    format!("deleting {id} removes its events, jobs and keys for good; add --yes to do it");
                return Err(Usage(message).into());
            }
            Action::Delete { one: One { id, target }, yes: true } => {
                client(target)?.delete_tenant(&id).await?;
                done("deleted", &id);
            }
            Action::RenewEpoch(One { id, target }) => {
                client(target)?.renew_epoch(&id).await?;
                done("has a new epoch", &id);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// These routes name their tenant themselves.
fn client(target: TargetArgs) -> anyhow::Result<Client> {
    Ok(TargetArgs { tenant: None, ..target }.client()?.0)
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
