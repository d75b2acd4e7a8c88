//! What a server that forks for its work costs.

use anyhow::Context as _;

/// A process with all that it has started, those that have ended included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessTree(pub(crate) u32);

impl ProcessTree {
    /// CPU time used so far, user and system, in seconds.
    pub(crate) fn cpu_s(self) -> anyhow::Result<f64> {
        let mut ticks = of_process(self.0)?;
        let path = format!("/proc/{0}/task/{0}/children", self.0);
        let children = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        for child in children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
            // One that ends between two looks is counted by its parent at the next.
            ticks += of_process(child).unwrap_or(0);
        }
        // The kernel's USER_HZ is 100 on every architecture that Linux has a stable interface for.
        Ok(ticks as f64 / 100.0)
    }
}

/// Its own time and that of the children that it has waited for.
fn of_process(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let (_, fields) = stat.rsplit_once(')').context("stat has a command")?;
    let times: Vec<u64> =
        fields.split_ascii_whitespace().skip(11).take(4).filter_map(|f| f.parse().ok()).collect();
    Ok(times.iter().sum())
}
