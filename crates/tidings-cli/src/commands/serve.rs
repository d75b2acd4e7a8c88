mod descriptors;
mod logs;
mod sockets;

use std::{net::SocketAddr, path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use tidings_server::{
    Ended, Server, Sockets,
    config::{Config, Loaded, StoreChoice},
};

use super::config::Settings;
use crate::{exit, output::Paint, server_file::ServerFile};

/// Run the server.
#[derive(Debug, Args)]
#[command(after_help = "\
A first start makes the data folder, a signing key and an administrator key in it, readable by you alone. Client \
commands on this machine find both by themselves. SIGTERM or SIGINT stops it in order, a second one at once; SIGHUP \
reloads limits, retention, allow-lists, issuers and the log filter without dropping a connection. Listening sockets that systemd passes \
(LISTEN_FDS) take the place of --listen, and of --ops-listen where they are named so.

Examples:
  tidings serve
  tidings serve --listen 0.0.0.0:3000 --data /var/lib/tidings
  tidings serve --config /etc/tidings.toml --set limits.connections=10000
  tidings serve --store-file /etc/tidings/store --redis-file /etc/tidings/redis --roles api")]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,
}

impl Serve {
    pub(crate) fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        // Before any thread is started.
        let sockets = sockets::take()?;
        let loaded = self.settings.load()?;
        let set_log_filter = logs::start(&loaded.config.log, paint)?;
        let descriptors = descriptors::raise();
        descriptors::compare(descriptors, &loaded.config);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let reloaded = |config: &Config| {
            set_log_filter(&config.log.filter);
            descriptors::compare(descriptors, config);
        };
        let ended = runtime.block_on(serve(loaded, sockets, paint, reloaded))?;
        Ok(match ended {
            Ended::Stopped => ExitCode::SUCCESS,
            Ended::Cut | Ended::Failed => ExitCode::from(exit::FAILURE),
        })
    }
}

async fn serve(
    loaded: Loaded,
    sockets: Sockets,
    paint: Paint,
    reloaded: impl Fn(&Config),
) -> anyhow::Result<Ended> {
    let data = loaded.config.server.data.clone();
    let server = Server::start_on(loaded, sockets).await.context("the server did not start")?;
    let file = ServerFile {
        url: url(server.address()),
        ops_url: server.ops_address().map(url),
        pid: std::process::id(),
    };
    if let Err(error) = file.write(&data) {
        // A server on a database needs no folder that can be written.
        if matches!(server.app().settings().get().server.store_choice()?, StoreChoice::Sqlite) {
            return Err(error).with_context(|| format!("writing server.json in {}", data.display()));
        }
        tracing::info!(%error, "no server.json was written: commands here need --url and a credential");
    }
    announce(&server, &file, &data, paint);
    let ended = server.run_until_signalled(reloaded).await;
    file.remove(&data);
    Ok(ended?)
}

/// Each finds this server and its key through the data folder.
const TRY: [(&str, &str, &str); 3] = [
    ("tail", "", "# watch everything, live"),
    ("work", " --type hello -- sh -c 'cat; sleep 2'", "# be a worker: a command for each job"),
    ("jobs enqueue", " hello '{\"to\":\"world\"}' --watch", "# a job for it"),
];

/// For whoever started it. The key itself is never printed: terminals have histories.
fn announce(server: &Server, file: &ServerFile, data: &Path, paint: Paint) {
    let err = paint.err();
    eprintln!("{} listens on {}", err.bold("Tidings"), err.cyan(&file.url));
    if let Some(ops_url) = &file.ops_url {
        eprintln!("metrics at {}", err.cyan(format_args!("{ops_url}/metrics")));
    }
    if let Some(key) = server.new_admin_key() {
        eprintln!("This first start made an administrator key: {}", err.bold(key.display()));
        eprintln!("Elsewhere use it as: TIDINGS_URL={} TIDINGS_TOKEN=$(cat {})", file.url, key.display());
    }
    if ServerFile::read(data).as_ref() == Some(file) && data.join("admin.key").exists() {
        suggest(data, paint);
    } else {
        // Of the nodes on one database, the first alone has the key in its folder.
        eprintln!(
            "Client commands need TIDINGS_URL={} and a TIDINGS_TOKEN: `tidings keys admin` prints one",
            file.url
        );
    }
}

/// What to try first.
fn suggest(data: &Path, paint: Paint) {
    let err = paint.err();
    let program = std::env::args().next().unwrap_or_else(|| "tidings".into());
    // The client commands look into `data` unless they are told.
    let elsewhere = if data == Path::new("data") || data == Path::new("./data") {
        String::new()
    } else {
        format!(" --data {}", data.display())
    };
    eprintln!("Try, in other terminals of this folder:");
    for (action, rest, what) in TRY {
        eprintln!("  {} {}", err.bold(format_args!("{program} {action}{elsewhere}{rest}")), err.dim(what));
    }
}

/// Where a client on this machine finds what listens on `address`.
fn url(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        let loopback: std::net::IpAddr = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(loopback);
    }
    format!("http://{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_found_on_the_loopback() {
        assert_eq!(url("0.0.0.0:3000".parse().expect("valid")), "http://127.0.0.1:3000");
        assert_eq!(url("[::]:80".parse().expect("valid")), "http://[::1]:80");
        assert_eq!(url("10.1.2.3:80".parse().expect("valid")), "http://10.1.2.3:80");
    }
}
