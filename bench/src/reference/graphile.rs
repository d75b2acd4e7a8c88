//! graphile-worker: jobs on PostgreSQL for Node, one process that enqueues and one that works.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{ChildStdout, Command},
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::child::Child;

const PROGRAM: &str = include_str!("../../graphile/cycles.cjs");

#[derive(Debug)]
pub(crate) struct Graphile {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Graphile {
    /// Starts it and returns when its measured time begins. `local_queue` 0 leaves its defaults as they are.
    pub(crate) fn start(
        url: &str,
        folder: &Path,
        modules: &Path,
        length: Duration,
        (batch, local_queue): (usize, usize),
    ) -> anyhow::Result<Self> {
        if !modules.join("graphile-worker").is_dir() {
            bail!("graphile-worker is not in {}: scripts/prepare bench installs it", modules.display());
        }
        let file = folder.join("cycles.cjs");
        std::fs::write(&file, PROGRAM)?;
        let mut command = Command::new("node");
        command.env("NODE_PATH", std::fs::canonicalize(modules)?).arg(file).arg(url);
        let numbers = [length.as_secs() as usize, batch, local_queue];
        let (child, out) = Child::piped(command.args(numbers.map(|n| n.to_string())))
            .context("starting node (Debian: apt-get install nodejs)")?;
        let mut started = Self { child, out: BufReader::new(out) };
        match started.line()?.as_str() {
            "measuring" => Ok(started),
            other => bail!("graphile-worker did not begin: {other:?}"),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Waits for the end of the measured time: how many jobs ran in it.
    pub(crate) fn measured(&mut self) -> anyhow::Result<u64> {
        let line = self.line()?;
        line.parse().with_context(|| format!("graphile-worker said {line:?}"))
    }

    /// Waits for its end, by when every job that was enqueued has run.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        if self.line()?.is_empty() && self.child.wait()?.success() {
            return Ok(());
        }
        bail!("graphile-worker failed")
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.out.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}
