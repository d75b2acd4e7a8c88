use std::{
    io::Write as _,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tidings_testkit::socket;

use crate::{
    child::Child,
    load::{Processes, Target},
};

/// A Tidings server of its own, in a folder of its own, on ports of its own.
#[derive(Debug)]
pub(crate) struct Subject {
    child: Child,
    pub(crate) target: Target,
}

/// What `tidings serve` writes into its data folder.
#[derive(Deserialize)]
struct Bound {
    url: String,
    pid: u32,
}

/// What nodes share; without it a server has the embedded store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shared {
    pub(crate) store: Option<String>,
    pub(crate) redis: Option<String>,
}

impl Shared {
    /// The program with what it needs to know of it, for all that it is asked to do.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(store) = &self.store {
            command.env("TIDINGS_SERVER__STORE", store);
            command.env("TIDINGS_SECRETS__MASTER_KEY", "07".repeat(32));
        }
        if let Some(redis) = &self.redis {
            command.env("TIDINGS_SERVER__REDIS", redis);
        }
        command
    }
}

/// The load is one user at one address.
const ROOMY: [&str; 12] = [
    "limits.connections=20000",
    "limits.connections_per_ip=off",
    "limits.upgrades_per_ip=off",
    "limits.connections_per_user=off",
    "limits.requests_per_tenant=off",
    "limits.requests_per_key=off",
    "limits.publishes_per_tenant=off",
    "limits.publishes_per_key=off",
    "limits.enqueues_per_tenant=off",
    "limits.enqueues_per_key=off",
    "limits.bytes_per_tenant=off",
    "limits.bytes_per_key=off",
];

const TENANT: &str = "bench";
const SCOPES: &str = "events:read events:publish jobs:read:all jobs:write jobs:work webhooks:manage";

impl Subject {
    /// Starts `program` and waits until it answers; `settings` are further `key=value`.
    pub(crate) fn start(program: &Path, folder: &Path, settings: &[&str]) -> anyhow::Result<Self> {
        Self::start_on(&Shared::default(), program, folder, settings)
    }

    /// Starts it as one of the nodes of a cluster.
    pub(crate) fn start_on(
        shared: &Shared,
        program: &Path,
        folder: &Path,
        settings: &[&str],
    ) -> anyhow::Result<Self> {
        let data = folder.join("data");
        std::fs::create_dir_all(&data)?;
        let mut command = shared.command(program);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data"])
            .arg(&data);
        for setting in ROOMY.iter().chain(settings) {
            command.args(["--set", setting]);
        }
        let log = folder.join("tidings.log");
        let mut child = Child::spawn(&mut command, &log)?;
        let bound = wait_until_bound(&mut child, &data.join("server.json"))
            .with_context(|| format!("{} did not start:\n{}", program.display(), tail(&log)))?;
        let token = token(shared.command(program), &data, TENANT)?;
        let target = Target::tidings(&bound.url, &token, None)?;
        // The tenant is there before the load: making tenants is limited, and a thousand subscribers
        // that arrive at one that is not there yet are refused.
        publish_once(&target).context("publishing the event that makes the tenant")?;
        Ok(Self { child, target })
    }

    /// A further tenant of a server that was started in `folder`.
    pub(crate) fn tenant(
        &self,
        shared: &Shared,
        program: &Path,
        folder: &Path,
        name: &str,
    ) -> anyhow::Result<Target> {
        let token = token(shared.command(program), &folder.join("data"), name)?;
        let target = Target::tidings(&format!("http://{}", self.target.addr), &token, None)?;
        publish_once(&target).with_context(|| format!("publishing the event that makes {name}"))?;
        Ok(target)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(crate) fn processes(&self) -> Processes {
        Processes::of(vec![self.child.pid()])
    }
}

fn wait_until_bound(child: &mut Child, file: &PathBuf) -> anyhow::Result<Bound> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        // Half a file does not parse: then it is read again.
        let bound = std::fs::read(file).ok().and_then(|text| serde_json::from_slice::<Bound>(&text).ok());
        if let Some(bound) = bound.filter(|bound| bound.pid == child.pid()) {
            return Ok(bound);
        }
        if let Some(status) = child.status()? {
            bail!("it ended with {status}");
        }
        if Instant::now() > deadline {
            bail!("it has not said within 20 s where it listens");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn token(mut command: Command, data: &Path, tenant: &str) -> anyhow::Result<String> {
    command
        .args(["token", "--tenant", tenant, "--user", "bench", "--scope", SCOPES, "--ttl", "12h", "--data"])
        .arg(data);
    let output = command.output().context("running `tidings token`")?;
    if !output.status.success() {
        bail!("`tidings token` failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn publish_once(target: &Target) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(target.addr)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&target.publish(br#"{"first":true}"#))?;
    let mut answer = [0; 4_096];
    let len = socket::read(&mut stream, &mut answer)?;
    if !answer[..len].starts_with(b"HTTP/1.1 201") {
        bail!("the server answered {}", String::from_utf8_lossy(&answer[..len]));
    }
    Ok(())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
