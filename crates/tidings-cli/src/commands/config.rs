use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use tidings_server::config::{Loaded, Sources};

use crate::output;

/// Print the effective configuration and where each value comes from.
#[derive(Debug, Args)]
#[command(after_help = "\
Values come from the file, over it the environment (TIDINGS_LIMITS__CONNECTIONS is limits.connections), over both the \
flags. Unknown keys are errors. Secrets are masked. Lines that begin with `# degraded:` say what this configuration \
leaves slower or undone; --json has none of them. What is out of reach now, `tidings health` says.

Examples:
  tidings config
  tidings config --config tidings.toml --set limits.connections=5000
  tidings config --json | jq '.[] | select(.origin != \"default\")'")]
pub(crate) struct Config {
    #[command(flatten)]
    settings: Settings,
    /// Print a JSON list of {key, value, origin}.
    #[arg(long)]
    json: bool,
}

/// Where `serve` and `config` get their settings.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct Settings {
    #[command(flatten)]
    store: StoreSettings,
    /// Where clients connect; port 0 takes a free one [default: 127.0.0.1:3000].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where /metrics is [default: 127.0.0.1:9464].
    #[arg(long, value_name = "ADDRESS")]
    ops_listen: Option<String>,
    /// Share both ports with another process of the same user: the next version starts while this one drains. PostgreSQL only.
    #[arg(long)]
    reuse_port: bool,
    /// The Redis through which servers on one database tell each other. A file is better: arguments show in process lists.
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// A file that holds the URL of the Redis.
    #[arg(long, value_name = "FILE")]
    redis_file: Option<String>,
    /// What this node does, joined by commas: api, scheduler, webhooks [default: all].
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
    /// An echo route for WebSocket conformance suites.
    #[arg(long)]
    debug_echo: bool,
}

/// What names a store and its keys: for commands that go to it without a server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub(super) struct StoreSettings {
    /// A TOML file.
    #[arg(long, env = "TIDINGS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Any key: --set limits.connections=5000. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The server's data folder [default: ./data].
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// sqlite, or the URL of a PostgreSQL database [default: sqlite]. A file is better for a URL with a password.
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// A file that holds the URL of the database.
    #[arg(long, value_name = "FILE")]
    store_file: Option<String>,
}

type Flag = (String, String, String);

fn flag(flag: &str, key: &str, value: Option<String>) -> Option<Flag> {
    value.map(|v| (flag.to_owned(), key.to_owned(), v))
}

impl Settings {
    pub(super) fn load(self) -> anyhow::Result<Loaded> {
        self.store.load_with([
            flag("--listen", "server.listen", self.listen),
            flag("--ops-listen", "server.ops_listen", self.ops_listen),
            flag("--redis", "server.redis", self.redis),
            flag("--redis-file", "server.redis_file", self.redis_file),
            flag("--roles", "server.roles", self.roles),
            flag("--reuse-port", "server.reuse_port", self.reuse_port.then(|| "true".to_owned())),
            flag("--debug-echo", "server.debug_echo", self.debug_echo.then(|| "true".to_owned())),
        ])
    }
}

impl StoreSettings {
    pub(super) fn load(self) -> anyhow::Result<Loaded> {
        self.load_with([])
    }

    fn load_with<const N: usize>(self, more: [Option<Flag>; N]) -> anyhow::Result<Loaded> {
        let flags = [
            flag("--data", "server.data", self.data),
            flag("--store", "server.store", self.store),
            flag("--store-file", "server.store_file", self.store_file),
        ];
        // What is not text cannot be a setting of ours.
        let env =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let sources = Sources {
            file: self.config,
            env: env.collect(),
            sets: self.set,
            flags: flags.into_iter().chain(more).flatten().collect(),
        };
        Ok(Loaded::load(sources)?)
    }
}

impl Config {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = self.settings.load()?;
        let rows = loaded.rows();
        if self.json {
            let rows: Vec<_> = rows
                .into_iter()
                .map(|row| serde_json::json!({ "key": row.key, "value": row.value, "origin": row.origin.to_string() }))
                .collect();
            output::line(serde_json::to_string_pretty(&rows)?)?;
        } else {
            let rows = rows.into_iter().map(|row| [row.key, row.value, row.origin.to_string()]);
            output::line(output::table(["key", "value", "from"], rows))?;
            for sentence in loaded.config.degraded() {
                output::line(format_args!("# degraded: {sentence}"))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
