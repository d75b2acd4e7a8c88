//! What a server's processes cost, from `/proc`.

use anyhow::Context as _;

/// The processes of one server.
#[derive(Debug, Clone, Default)]
pub struct Processes(pub Vec<u32>);

impl Processes {
    pub fn own() -> Self {
        Self(vec![std::process::id()])
    }

    /// CPU time used so far, user and system, in seconds.
    pub fn cpu_s(&self) -> anyhow::Result<f64> {
        self.0.iter().map(|pid| cpu_s(*pid)).sum()
    }

    /// Resident memory now, in KiB. Shared pages are divided among those who share them.
    pub fn resident_kib(&self) -> anyhow::Result<f64> {
        self.0.iter().map(|pid| resident_kib(*pid)).sum()
    }
}

fn cpu_s(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // The command's name may hold anything, so count from behind it.
    let (_, fields) = stat.rsplit_once(')').context("stat has a command")?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|f| f.parse::<u64>().ok()).context("stat has CPU times");
    // The kernel's USER_HZ is 100 on every architecture that Linux has a stable interface for.
    Ok((ticks()? + ticks()?) as f64 / 100.0)
}

fn resident_kib(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).context("smaps_rollup has Pss")?;
    line.split_ascii_whitespace().next().and_then(|kib| kib.parse().ok()).context("Pss is a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_has_memory_and_its_time_never_falls() {
        let own = Processes::own();
        let before = own.cpu_s().expect("readable");
        assert!(own.resident_kib().expect("readable") > 100.0);
        assert!(own.cpu_s().expect("readable") >= before);
    }
}
