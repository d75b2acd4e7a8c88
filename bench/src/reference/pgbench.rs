//! Bare PostgreSQL: `pgbench` inserting what a batch of publishes inserts, and nothing around it.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};

/// Where the rows of a batch come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// The client sends them, as two arrays.
    Sent,
    /// The server makes them of constants, so that nothing of them crosses the connection.
    MadeThere,
}

/// Tenants that each connection has to itself, and that each batch is spread over.
pub(crate) const TENANTS: usize = 8;

/// Events that `pgbench` inserts in transactions of `batch`, on `clients` connections.
#[derive(Debug)]
pub(crate) struct Pgbench {
    child: Child,
}

/// The columns and the indexes of the log, in one table, with a counter for each tenant.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE bare_counters (tenant int PRIMARY KEY, tenant_id text COLLATE \"C\" NOT NULL, head bigint NOT NULL,
        last_time bigint NOT NULL) WITH (fillfactor = 50);
    INSERT INTO bare_counters SELECT n, 'bench-' || n, 0, 0 FROM generate_series(0, 511) n;
    CREATE TABLE bare_events (
        tenant_id text COLLATE \"C\" NOT NULL, life integer NOT NULL, seq bigint NOT NULL, time bigint NOT NULL,
        id uuid NOT NULL, type text NOT NULL, job_id uuid, job_type text, owner text, subject text,
        data text NOT NULL, detail text, debug text, PRIMARY KEY (tenant_id, life, seq, time));
    CREATE INDEX ON bare_events (tenant_id, life, job_id, seq) WHERE job_id IS NOT NULL;";

/// One transaction: the tenants' counters are advanced and locked, and the batch is inserted. A client that sends its rows
/// gets them once, before the first.
fn script(rows: Rows, batch: usize, data_bytes: usize) -> String {
    let each = batch / TENANTS;
    let (prepare, id, data, from) = match rows {
        Rows::Sent => (
            format!(
                "\\if :ready\n\\else
                 SELECT array_agg(gen_random_uuid())::text AS ids, array_agg(repeat('x', {data_bytes}))::text AS data
                 FROM generate_series(1, {batch}) \\gset\n\\set ready 1\n\\endif\n"
            ),
            "r.id",
            "r.data".to_owned(),
            // Every tenant gets as many of them.
            format!(
                "unnest(:ids::uuid[], :data::text[]) WITH ORDINALITY AS r(id, data, n)
                 JOIN counter c ON c.nth = (r.n - 1) / {each}"
            ),
        ),
        Rows::MadeThere => (
            String::new(),
            "'0192f0c4-0000-7000-8000-000000000000'::uuid",
            format!("'{}'", "x".repeat(data_bytes)),
            format!("counter c, generate_series(1, {each}) r(n)"),
        ),
    };
    format!(
        "{prepare}WITH counter AS (
             UPDATE bare_counters
             SET head = head + {each}, last_time = extract(epoch FROM clock_timestamp()) * 1000000
             WHERE tenant BETWEEN :client_id * {TENANTS} AND :client_id * {TENANTS} + {TENANTS} - 1
             RETURNING tenant - :client_id * {TENANTS} AS nth, tenant_id, head - {each} AS base, last_time
         )
         INSERT INTO bare_events
         SELECT c.tenant_id, 1, c.base + (r.n - 1) % {each} + 1, c.last_time, {id}, 'bench.message', NULL, NULL, NULL, NULL,
                {data}, NULL, NULL
         FROM {from};\n"
    )
}

impl Pgbench {
    /// Runs until it is stopped, at most `length`.
    pub(crate) fn start(
        url: &str,
        folder: &Path,
        rows: Rows,
        batch: usize,
        clients: usize,
        data_bytes: usize,
        length: Duration,
    ) -> anyhow::Result<Self> {
        let file = folder.join("pgbench.sql");
        std::fs::write(&file, script(rows, batch, data_bytes))?;
        let child = Command::new(program())
            .args(["-n", "-M", "prepared", "-j", "1", "-D", "ready=0", "-c", &clients.to_string()])
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
