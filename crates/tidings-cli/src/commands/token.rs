use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use tidings_auth::{ServerKeys, TokenRequest};
use tidings_core::{Pattern, Scope, ScopeSet, SystemClock, SystemEntropy, TenantId, UserId, parse_duration};

use crate::{exit::Usage, output};

/// Sign a token with the local server's own key. Needs no running server.
#[derive(Debug, Args)]
#[command(after_help = "\
A token cannot be revoked, only outlived: keep --ttl short, or make a key (`tidings keys create`).

Examples:
  tidings token --tenant acme --user ana --scope \"events:read jobs:read:own\" --ttl 1h
  TIDINGS_TOKEN=$(tidings token --scope \"jobs:write jobs:read:all\") tidings jobs list
  tidings token --scope events:read --subject 'note/*'")]
pub(crate) struct Token {
    /// The server's data folder.
    #[arg(long, env = "TIDINGS_SERVER__DATA", value_name = "FOLDER", default_value = "data")]
    data: PathBuf,
    /// The tenant that it is for.
    #[arg(long, env = "TIDINGS_TENANT", default_value = "default")]
    tenant: TenantId,
    /// The user that it stands for.
    #[arg(long)]
    user: Option<UserId>,
    /// What it may do, joined by spaces. May be repeated.
    #[arg(long, value_name = "SCOPES", required = true)]
    scope: Vec<ScopeSet>,
    /// Narrows it to subjects, such as note/*. May be repeated.
    #[arg(long = "subject", value_name = "PATTERN")]
    subjects: Vec<Pattern>,
    /// How long it counts.
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    ttl: Duration,
}

impl Token {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let scopes: ScopeSet = self.scope.iter().flat_map(|s| s.iter()).collect();
        if scopes.contains(Scope::SystemAdmin) {
            return Err(Usage(
                "a token is for one tenant: system:admin comes with the administrator key".into(),
            )
            .into());
        }
        if !self.data.is_dir() {
            let message = format!(
                "there is no data folder {}: name the server's with --data, or start one with `tidings serve`",
                self.data.display()
            );
            return Err(Usage(message).into());
        }
        let keys = ServerKeys::open_or_create(&self.data, Arc::new(SystemEntropy), Arc::new(SystemClock))?;
        let subjects = (!self.subjects.is_empty()).then(|| self.subjects.into());
        let request = TokenRequest { tenant: self.tenant, user: self.user, scopes, subjects, ttl: self.ttl };
        output::line(keys.issue(&request))?;
        Ok(ExitCode::SUCCESS)
    }
}
