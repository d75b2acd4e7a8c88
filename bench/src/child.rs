//! A server as a child process of the benchmark, ended with it.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;

#[derive(Debug)]
pub(crate) struct Child(std::process::Child);

impl Child {
    /// Starts it with both its outputs in the file `log`.
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let out = std::fs::File::create(log)?;
        let err = out.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        Ok(Self(child.with_context(|| format!("starting {}", command.get_program().display()))?))
    }

    /// Starts it with its standard output as a pipe, which is returned.
    pub(crate) fn piped(command: &mut Command) -> anyhow::Result<(Self, std::process::ChildStdout)> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("the output was asked for")?;
        Ok((Self(child), out))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Its direct children.
    pub(crate) fn descendants(&self) -> anyhow::Result<Vec<u32>> {
        let pid = self.pid();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        Ok(text.split_ascii_whitespace().filter_map(|p| p.parse().ok()).collect())
    }

    /// Whether it has ended, and how.
    pub(crate) fn status(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    pub(crate) fn wait(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        Ok(self.0.wait()?)
    }

    /// Asks it to end, unless it has: once it was waited for, its id may be another process's.
    fn terminate(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status();
        }
    }
}

/// How long a server may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

impl Drop for Child {
    fn drop(&mut self) {
        self.terminate();
        let deadline = Instant::now() + GRACE;
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_runs_is_ended_and_waited_for() {
        let running = Child(Command::new("sleep").arg("60").spawn().expect("starts"));
        let path = format!("/proc/{}", running.pid());
        assert!(Path::new(&path).exists());
        drop(running);
        assert!(!Path::new(&path).exists(), "it was ended and waited for");
    }
}
