use std::{process::ExitCode, time::Duration};

use clap::Args;
use tidings_auth::{ServerKeys, TokenRequest};
use tidings_core::{Pattern, Scope, ScopeSet, TenantId, UserId};
use tidings_server::{
    config::{Config, StoreChoice},
    offline,
};

use super::config::StoreSettings;
use crate::{args::value, exit::Usage, output};

/// Sign a token with the server's own key. Needs no running server.
#[derive(Debug, Args)]
#[command(after_help = "\
A token cannot be revoked, only outlived: keep --ttl short, or make a key (`tidings keys create`). The key is in the \
data folder; of servers on PostgreSQL it is in the database, sealed under secrets.master_key, and this command reads \
both where they do: --config, TIDINGS_SERVER__STORE, TIDINGS_SECRETS__MASTER_KEY.

Examples:
  tidings token --tenant acme --user ana --scope \"events:read jobs:read:own\" --ttl 1h
  TIDINGS_TOKEN=$(tidings token --scope \"jobs:write jobs:read:all\") tidings jobs list
  tidings token --scope events:read --subject 'note/*'")]
pub(crate) struct Token {
    #[command(flatten)]
    settings: StoreSettings,
    /// The tenant that it is for.
    #[arg(long, env = "TIDINGS_TENANT", default_value = "default")]
    tenant: TenantId,
    /// The user that it stands for.
    #[arg(long)]
    user: Option<UserId>,
    /// What it may do, joined by spaces. May be repeated.
    #[arg(long, value_name = "SCOPES", required = true, value_parser = value::scopes)]
    scope: Vec<ScopeSet>,
    /// Narrows it to subjects, such as note/*. May be repeated.
    #[arg(long = "subject", value_name = "PATTERN")]
    subjects: Vec<Pattern>,
    /// How long it counts.
    #[arg(long, default_value = "1h", value_parser = value::length)]
    ttl: Duration,
}

impl Token {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let scopes: ScopeSet = self.scope.iter().flat_map(|s| s.iter()).collect();
        if scopes.contains(Scope::SystemAdmin) {
            return Err(Usage(
                "a token is for one tenant: system:admin comes with the administrator key".into(),
            )
            .into());
        }
        let config = self.settings.load()?.config;
        check_folder(&config)?;
        let keys = offline::open_keys(&config).await?;
        let subjects = (!self.subjects.is_empty()).then(|| self.subjects.into());
        let request = TokenRequest { tenant: self.tenant, user: self.user, scopes, subjects, ttl: self.ttl };
        output::line(keys.issue(&request))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// No folder becomes one with keys of its own, that no server has: a mistyped one, or that of a server on PostgreSQL.
fn check_folder(config: &Config) -> anyhow::Result<()> {
    let data = &config.server.data;
    if matches!(config.server.store_choice()?, StoreChoice::Postgres(_)) || ServerKeys::are_in(data) {
        return Ok(());
    }
    let missing = if data.is_dir() { "no signing key in the data folder" } else { "no data folder" };
    let message = format!(
        "there is {missing} {}: name the server's with --data, or start one with `tidings serve`; for servers on \
         PostgreSQL, name their database with --store-file, --store or --config",
        data.display()
    );
    Err(Usage(message).into())
}
