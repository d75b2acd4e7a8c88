use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use reqwest::{StatusCode, Url, redirect::Policy};
use serde::Deserialize;
use tidings_client::{ClientError, Problem};

use crate::{
    exit::{self, Usage},
    output,
    server_file::ServerFile,
    target,
};

/// An answer takes no longer: the server itself gives its store less.
const PATIENCE: Duration = Duration::from_secs(5);
/// More of an answer is not read.
const BODY_MAX: usize = 4096;

/// Ask whether a server takes requests. Needs no credential.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints what the server says of itself, and ends with 0 if it takes requests. A server that stops and one whose store is \
out of reach do not; --live asks only whether it runs, which is what to restart it by.

Examples:
  tidings health
  tidings health --live
  tidings health --url http://10.1.2.3:3000")]
pub(crate) struct Health {
    /// Whether it runs, instead of whether it takes requests.
    #[arg(long)]
    live: bool,

    /// The server's URL. Without it: the server of the data folder.
    #[arg(long, env = "TIDINGS_URL", value_name = "URL")]
    url: Option<String>,

    /// The local server's data folder, for its URL.
    #[arg(
        long = "data",
        id = "data_folder",
        env = "TIDINGS_SERVER__DATA",
        value_name = "FOLDER",
        default_value = "data"
    )]
    data: PathBuf,
}

/// What every answer of `/health` has; one without it is another program's.
#[derive(Debug, Deserialize)]
#[allow(clippy::struct_field_names, reason = "it is the field of the document")]
struct Status {
    status: String,
    store: Option<String>,
    bus: Option<String>,
}

impl Health {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let url = self.address()?;
        let (code, body) = ask(&url).await?;
        let is_well = match code {
            StatusCode::OK => true,
            StatusCode::SERVICE_UNAVAILABLE => false,
            _ => return Err(ClientError::Refused(Box::new(Problem::read(code.as_u16(), None, &body))).into()),
        };
        let Ok(Status { status, store, bus }) = serde_json::from_slice(&body) else {
            let why = "something answers that is not Tidings".to_owned();
            return Err(ClientError::Disconnected { url: url.to_string(), why }.into());
        };
        match (store, bus) {
            (Some(store), Some(bus)) => output::line(format_args!("{status} (store {store}, bus {bus})"))?,
            _ => output::line(status)?,
        }
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(exit::TEMPORARY) })
    }

    fn address(&self) -> anyhow::Result<Url> {
        let base = target::url(self.url.as_deref(), ServerFile::read(&self.data).as_ref());
        let path = if self.live { "/health/live" } else { "/health/ready" };
        Url::parse(&format!("{}{path}", base.trim_end_matches('/')))
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.username().is_empty())
            .filter(|url| url.password().is_none() && url.host_str() != Some("health"))
            // It is not repeated: a password may stand in it.
            .ok_or_else(|| Usage("--url is not a server's: write http://host:port".into()).into())
    }
}

async fn ask(url: &Url) -> Result<(StatusCode, Vec<u8>), ClientError> {
    let unreachable = |source| ClientError::Unreachable { url: url.to_string(), source };
    let client = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(unreachable)?;
    let mut reply = client.get(url.clone()).send().await.map_err(unreachable)?;
    let mut body = Vec::new();
    while let Some(part) = reply.chunk().await.map_err(unreachable)? {
        if body.len() + part.len() > BODY_MAX {
            break;
        }
        body.extend_from_slice(&part);
    }
    Ok((reply.status(), body))
}
