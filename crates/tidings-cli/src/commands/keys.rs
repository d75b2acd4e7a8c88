use std::process::ExitCode;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use tidings_client::{Client, KeyReach, KeyRequest};
use tidings_core::{KeyId, Pattern, ScopeSet, TenantId, UserId};
use tidings_server::offline;

use super::config::StoreSettings;
use crate::{
    args::{TargetArgs, value},
    output::{self, Paint},
};

/// Make, list and revoke API keys.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings keys create worker --scope \"jobs:work\"
  tidings keys create dashboard --scope \"events:read jobs:read:own\" --user ana --expires-in 90d
  tidings keys list
  tidings keys revoke 019ab0c4-0000-7000-8000-000000000000
  TIDINGS_TOKEN=$(tidings keys admin --config /etc/tidings.toml) tidings tenants list --url https://tidings.example.com
  tidings keys rotate-master --config /etc/tidings.toml")]
pub(crate) struct Keys {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it: the only time that it is shown.
    Create(Create),
    /// List the tenant's keys, newest first.
    List {
        /// Keys that belong to no tenant: operators', and those made with --for-tenant or --all-tenants.
        #[arg(long, conflicts_with = "tenant")]
        operator: bool,
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Revoke a key. Live connections that it opened are closed within seconds.
    Revoke {
        id: KeyId,
        /// It belongs to no tenant: an operator's, or one made with --for-tenant or --all-tenants.
        #[arg(long, conflicts_with = "tenant")]
        operator: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Print the administrator key of servers on PostgreSQL. Needs the database and secrets.master_key, no server.
    Admin {
        /// Make one where no server has: after an import, the operators' keys of the old store are there and count, and
        /// servers make none.
        #[arg(long)]
        make: bool,
        #[command(flatten)]
        settings: StoreSettings,
    },
    /// Seal the keys in the database anew: secrets.master_key is the new one, secrets.master_key_previous the one
    /// that it replaces. Done again after an interruption it goes on.
    RotateMaster {
        #[command(flatten)]
        settings: StoreSettings,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// What the key is for.
    name: String,
    /// Scopes, joined by spaces; at most what your own credential has.
    #[arg(long, value_name = "SCOPES", required = true, value_parser = value::scopes)]
    scope: Vec<ScopeSet>,
    /// The user that the key stands for.
    #[arg(long)]
    user: Option<UserId>,
    /// Narrows the key to subjects, such as note/*. May be repeated.
    #[arg(long = "subject", value_name = "PATTERN")]
    subjects: Vec<Pattern>,
    /// For a worker of several tenants: each of them (operators only). Such a key can carry jobs:work alone.
    #[arg(long = "for-tenant", value_name = "TENANT", conflicts_with_all = ["all_tenants", "tenant"])]
    tenants: Vec<TenantId>,
    /// For a worker of all tenants (operators only), or with system:admin for another operator.
    #[arg(long, conflicts_with = "tenant")]
    all_tenants: bool,
    /// When it ends, such as 90d.
    #[arg(long, value_name = "DURATION", value_parser = value::length_text)]
    expires_in: Option<String>,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// What the list shows of a key.
#[derive(Deserialize)]
struct Row {
    id: KeyId,
    name: String,
    #[serde(default)]
    scopes: ScopeSet,
    user: Option<UserId>,
    expires_at: Option<String>,
    revoked_at: Option<String>,
}

impl Keys {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::Create(create) => create.run(paint).await?,
            Action::List { operator, json, target } => list(operator, json, &target).await?,
            Action::Revoke { id, operator, target } => revoke(id, operator, &target).await?,
            Action::Admin { make, settings } => admin(make, settings).await?,
            Action::RotateMaster { settings } => rotate_master(settings).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Create {
    async fn run(self, paint: Paint) -> anyhow::Result<()> {
        let reach = match (self.all_tenants, self.tenants.is_empty()) {
            (true, _) => Some(KeyReach::All),
            (false, false) => Some(KeyReach::Set(self.tenants)),
            (false, true) => None,
        };
        let of_no_tenant = reach.is_some();
        let client = client(&self.target, of_no_tenant).await?;
        let request = KeyRequest {
            name: self.name,
            scopes: self.scope.iter().flat_map(|s| s.iter()).collect(),
            user: self.user,
            subjects: (!self.subjects.is_empty()).then_some(self.subjects),
            tenants: reach,
            expires_in: self.expires_in,
        };
        let created = client.create_key(&request).await?;
        if self.json {
            output::line(serde_json::json!({ "id": created.id, "key": created.key }))?;
        } else {
            output::line(&created.key)?;
            let id = created.id;
            eprintln!("{}", paint.err().dim(format_args!("key {id}: it is not shown again")));
            if of_no_tenant {
                let how =
                    format_args!("it belongs to no tenant: `tidings keys revoke {id} --operator` revokes it");
                eprintln!("{}", paint.err().dim(how));
            }
        }
        Ok(())
    }
}

async fn revoke(id: KeyId, operator: bool, target: &TargetArgs) -> anyhow::Result<()> {
    let client = client(target, operator).await?;
    if let Err(error) = client.revoke_key(id).await {
        let missing = error.problem().is_some_and(|problem| problem.is("not-found"));
        // Who names a tenant may revoke the others too.
        return Err(match client.tenant().filter(|_| missing) {
            Some(tenant) => anyhow::Error::new(error).context(format!(
                "{tenant} has no key {id} (one made with --for-tenant or --all-tenants belongs to no tenant: add --operator)"
            )),
            None => error.into(),
        });
    }
    eprintln!("revoked {id}");
    Ok(())
}

async fn admin(make: bool, settings: StoreSettings) -> anyhow::Result<()> {
    let config = settings.load()?.config;
    let key = if make {
        Some(offline::make_admin_key(&config).await?)
    } else {
        offline::admin_key(&config).await?
    };
    match key {
        Some(key) => Ok(output::line(key.expose_secret())?),
        None => anyhow::bail!(
            "no server has made an administrator key in this database. Where a data folder was imported into it, the key in \
             that folder's admin.key counts here too; `tidings keys admin --make` makes one"
        ),
    }
}

async fn rotate_master(settings: StoreSettings) -> anyhow::Result<()> {
    let done = offline::rotate_master_key(&settings.load()?.config).await?;
    eprintln!(
        "{} sealed under the new master key, {} were already; secrets.master_key_previous is needed no more",
        done.rewrapped, done.kept
    );
    Ok(())
}

/// Keys of no single tenant are made and found without naming one.
async fn client(target: &TargetArgs, of_no_tenant: bool) -> anyhow::Result<Client> {
    Ok(if of_no_tenant { target.client()?.0.for_tenant(None) } else { target.connect().await? })
}

async fn list(operator: bool, json: bool, target: &TargetArgs) -> anyhow::Result<()> {
    let client = client(target, operator).await?;
    let mut rows = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.keys(cursor.as_deref()).await?;
        for key in page.keys {
            if json {
                output::line(key.get())?;
            } else {
                let row: Row = serde_json::from_str(key.get())?;
                let until = match (row.revoked_at, row.expires_at) {
                    (Some(at), _) => format!("revoked {at}"),
                    (None, Some(at)) => format!("expires {at}"),
                    (None, None) => String::new(),
                };
                let user = row.user.map(|u| u.to_string()).unwrap_or_default();
                rows.push([row.id.to_string(), row.name, user, row.scopes.to_string(), until]);
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if !json {
        output::line(output::table(["id", "name", "user", "scopes", "until"], rows))?;
    }
    Ok(())
}
