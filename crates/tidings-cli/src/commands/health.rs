use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use serde_json::Value;
use tidings_client::ClientError;

use crate::{args::value, exit, output, server_file::ServerFile, target::URL_DEFAULT};

/// Ask a server whether it takes requests. Needs no credential.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints one line: `ok`, or `degraded` where only the bus to other nodes is out of reach, both with status 0; else why not, with status 75 where the server \
answers that it does not take requests now, 5 where none answers, and 1 where something else does. A container's health check and a load balancer's script need nothing else.

Examples:
  tidings health
  tidings health --live --url http://127.0.0.1:3000
  tidings health --timeout 1s --data /var/lib/tidings")]
pub(crate) struct Health {
    /// Ask only whether the process runs: true also while its store is out of reach or it is stopping.
    #[arg(long)]
    live: bool,
    /// The server's URL. Without it: the server of the data folder.
    #[arg(long, env = "TIDINGS_URL", value_name = "URL")]
    url: Option<String>,
    /// The local server's data folder, for its URL.
    #[arg(long = "data", env = "TIDINGS_SERVER__DATA", value_name = "FOLDER", default_value = "data")]
    data: PathBuf,
    /// How long to wait for the answer.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = value::length)]
    timeout: Duration,
}

impl Health {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let local = || ServerFile::read(&self.data).map(|local| local.url);
        let base = self.url.clone().or_else(local).unwrap_or_else(|| URL_DEFAULT.to_owned());
        let path = if self.live { "live" } else { "ready" };
        let url = format!("{}/health/{path}", base.trim_end_matches('/'));
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(self.timeout)
            .build()?;
        let unreachable = |source| ClientError::Unreachable { url: url.clone(), source };
        let answer = http.get(&url).send().await.map_err(unreachable)?;
        let is_well = answer.status().is_success();
        let text = answer.bytes().await.map_err(unreachable)?;
        let body: Value = serde_json::from_slice(&text).unwrap_or_default();
        let Some(status) = body["status"].as_str() else {
            let why = "it is not what Tidings says of its health".to_owned();
            return Err(ClientError::Unreadable { url, why }.into());
        };
        output::line(status)?;
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(exit::TEMPORARY) })
    }
}
