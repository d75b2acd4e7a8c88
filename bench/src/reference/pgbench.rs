//! Bare PostgreSQL: `pgbench` inserting what a batch of publishes inserts, and nothing around it.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};

/// Events that `pgbench` inserts in transactions of `batch`, on `clients` connections of its own tenant each.
#[derive(Debug)]
pub(crate) struct Pgbench {
    child: Child,
}

/// The columns and the indexes of the log, in one table, with a counter for each connection.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE bare_counters (client int PRIMARY KEY, head bigint NOT NULL, last_time bigint NOT NULL)
        WITH (fillfactor = 50);
    INSERT INTO bare_counters SELECT n, 0, 0 FROM generate_series(0, 63) n;
    CREATE TABLE bare_events (
        tenant_id text COLLATE \"C\" NOT NULL, life integer NOT NULL, seq bigint NOT NULL, time bigint NOT NULL,
        id uuid NOT NULL, type text NOT NULL, job_id uuid, job_type text, owner text, subject text,
        data text NOT NULL, detail text, debug text, PRIMARY KEY (tenant_id, life, seq, time));
    CREATE INDEX ON bare_events (tenant_id, life, job_id, seq) WHERE job_id IS NOT NULL;";

/// One transaction: the counter's row is advanced and locked, and the batch is inserted.
fn script(batch: usize, data_bytes: usize) -> String {
    format!(
        "WITH counter AS (
             UPDATE bare_counters SET head = head + {batch}, last_time = extract(epoch FROM clock_timestamp()) * 1000000
             WHERE client = :client_id RETURNING client, head - {batch} AS base, last_time
         )
         INSERT INTO bare_events
         SELECT 'bench-' || client, 1, base + n, last_time, gen_random_uuid(), 'bench.message', NULL, NULL, NULL, NULL,
                '{}', NULL, NULL
         FROM counter, generate_series(1, {batch}) n;\n",
        "x".repeat(data_bytes)
    )
}

impl Pgbench {
    /// Runs until it is stopped, at most `length`.
    pub(crate) fn start(
        url: &str,
        folder: &Path,
        batch: usize,
        clients: usize,
        data_bytes: usize,
        length: Duration,
    ) -> anyhow::Result<Self> {
        let file = folder.join("pgbench.sql");
        std::fs::write(&file, script(batch, data_bytes))?;
        let child = Command::new(program())
            .args(["-n", "-M", "prepared", "-j", "1", "-c", &clients.to_string()])
            .args(["-T", &length.as_secs().max(1).to_string(), "-f"])
            .arg(&file)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting pgbench (Debian: apt-get install postgresql)")?;
        Ok(Self { child })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end. What it counted includes its first moments, so that the table is asked instead.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let output = self.child.wait_with_output()?;
        if !output.status.success() {
            bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

/// Debian keeps it beside the server's programs.
fn program() -> std::path::PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> =
        versions.map(|entry| entry.path().join("bin/pgbench")).filter(|path| path.is_file()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| "pgbench".into())
}
