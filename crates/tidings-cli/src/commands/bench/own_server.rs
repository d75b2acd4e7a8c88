use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tidings_auth::{ServerKeys, TokenRequest};
use tidings_core::{SystemClock, SystemEntropy, TenantId};

use crate::server_file::ServerFile;

/// How long a server may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// A server in a temporary folder; dropping it stops it and removes the folder.
pub(super) struct OwnServer {
    process: Child,
    pub(super) url: String,
    pub(super) token: String,
    /// Removed last.
    folder: tempfile::TempDir,
}

/// The load comes from one address and one tenant, and is to find the server's own limits.
const LIFTED: [&str; 6] = [
    "limits.connections_per_ip=off",
    "limits.upgrades_per_ip=off",
    "limits.requests_per_tenant=off",
    "limits.publishes_per_tenant=off",
    "limits.enqueues_per_tenant=off",
    "limits.bytes_per_tenant=off",
];

impl OwnServer {
    pub(super) fn start(connections: usize) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tidings-bench").tempdir()?;
        let data = folder.path().join("data");
        let log = std::fs::File::create(folder.path().join("log"))?;
        let process = Command::new(std::env::current_exe()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"])
            .args(["--set", &format!("limits.connections={}", connections.max(1_000))])
            .args(LIFTED.iter().flat_map(|limit| ["--set", limit]))
            .arg("--data")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("starting a server")?;
        let mut server = Self { process, url: String::new(), token: String::new(), folder };
        server.url = server.wait(&data)?;
        let keys = ServerKeys::open_or_create(&data, Arc::new(SystemEntropy), Arc::new(SystemClock))?;
        server.token = keys.issue(&TokenRequest {
            tenant: TenantId::new("bench").expect("a valid tenant id"),
            user: None,
            scopes: "events:read events:publish jobs:read:all jobs:write jobs:work".parse()?,
            subjects: None,
            ttl: Duration::from_hours(24),
        });
        Ok(server)
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Until it says where it listens.
    fn wait(&mut self, data: &std::path::Path) -> anyhow::Result<String> {
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(bound) = ServerFile::read(data) {
                return Ok(bound.url);
            }
            if let Some(status) = self.process.try_wait()? {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("the server ended with {status}: {}", log.trim());
            }
            if Instant::now() > deadline {
                bail!("the server did not start within {} s", START_MAX.as_secs());
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // Nobody needs what it holds: no drain.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
