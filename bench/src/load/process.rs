//! What a server's processes cost, from `/proc`.

use anyhow::Context as _;

use super::process_tree::ProcessTree;

/// The processes of one server.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    own: Vec<u32>,
    /// What it works on, such as a database: only their time counts.
    behind: Vec<ProcessTree>,
}

impl Processes {
    pub const fn of(pids: Vec<u32>) -> Self {
        Self { own: pids, behind: Vec::new() }
    }

    pub fn own() -> Self {
        Self::of(vec![std::process::id()])
    }

    /// Counts the CPU time of another program, with all that it started, as the server's.
    #[must_use]
    pub fn with_tree(mut self, pid: u32) -> Self {
        self.behind.push(ProcessTree(pid));
        self
    }

    /// CPU time used so far, user and system, in seconds.
    pub fn cpu_s(&self) -> anyhow::Result<f64> {
        let own: f64 = self.own.iter().map(|pid| cpu_s(*pid)).sum::<anyhow::Result<f64>>()?;
        let behind: f64 = self.behind.iter().map(|tree| tree.cpu_s()).sum::<anyhow::Result<f64>>()?;
        Ok(own + behind)
    }

    /// Resident memory now, in KiB. Shared pages are divided among those who share them.
    pub fn resident_kib(&self) -> anyhow::Result<f64> {
        self.own.iter().map(|pid| resident_kib(*pid)).sum()
    }
}

/// CPU time that the whole machine has been busy with programs, in seconds over all cores. What the kernel's own
/// threads do for whoever writes to a disk is no program's.
pub(crate) fn machine_busy_s() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let line = stat
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "))
        .context("stat begins with all cores")?;
    // user nice system idle iowait irq softirq steal; what follows is contained in these.
    let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).filter_map(|f| f.parse().ok()).collect();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Ok((ticks.iter().sum::<u64>() - idle) as f64 / 100.0 - kernel_threads_s())
}

/// CPU time of all kernel threads; 0 where they are not to be seen, in a container say.
fn kernel_threads_s() -> f64 {
    /// The parent of them all.
    const KTHREADD: &str = "2";
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
    let times = stats.filter_map(|stat| {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace();
        (fields.nth(1)? == KTHREADD).then_some(())?;
        let ticks: Vec<f64> = fields.skip(9).take(2).filter_map(|field| field.parse().ok()).collect();
        Some(ticks.iter().sum::<f64>() / 100.0)
    });
    times.sum()
}

/// The share of one core that programs which are no part of a measurement may use. Beyond it the
/// figures are those of a contest for the processor.
pub(crate) const OTHERS_MAX: f64 = 0.2;

/// Why a measurement beside `others` cores of foreign work proves nothing.
pub(crate) fn crowded(others: f64) -> Option<String> {
    (others > OTHERS_MAX)
        .then(|| format!("other programs used {others:.2} cores meanwhile: the run proves nothing"))
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

    #[test]
    fn foreign_work_spoils_a_run_and_is_seen_in_the_machines_time() {
        assert!(crowded(OTHERS_MAX / 2.0).is_none());
        assert!(crowded(OTHERS_MAX * 2.0).is_some_and(|why| why.contains("proves nothing")));
        // Time that this process uses shows in the machine's.
        let (own, machine) =
            (Processes::own().cpu_s().expect("readable"), machine_busy_s().expect("readable"));
        let mut spent = 0_u64;
        while Processes::own().cpu_s().expect("readable") < own + 0.1 {
            spent = spent.wrapping_add(1);
        }
        assert!(machine_busy_s().expect("readable") - machine > 0.05, "after {spent} turns");
    }
}
