//! Children that end with us, and everything they start.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock, mpsc},
    thread,
    time::Duration,
};

use crate::{
    program,
    wait::{self, LONG},
};

/// How to start a program.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) program: &'a Path,
    /// Who runs it, where it is not us.
    pub(crate) user: Option<&'a str>,
    /// What tells it to end at once, without its `SIG`.
    pub(crate) end: &'static str,
    /// Where it writes; appended to.
    pub(crate) log: PathBuf,
}

/// A running child. Dropping it ends it and its descendants.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    end: &'static str,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(launch: Launch<'_>, arrange: impl FnOnce(&mut Command)) -> Self {
        let log = File::options().create(true).append(true).open(&launch.log).expect("the log file opens");
        let mut command = as_user(launch.user);
        command.args(["--pdeathsig", launch.end]).arg(launch.program);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a descriptor is free")).stderr(log);
        arrange(&mut command);
        // Not in the terminal's group: its interrupt would reach them beside the kernel's word.
        command.process_group(0);
        let name = launch.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let child = spawn(command).unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { child, name, end: launch.end, log: launch.log }
    }

    /// Waits until `ready`.
    ///
    /// # Panics
    /// When it ends before, or is not ready in time: with its log's last lines.
    pub(crate) fn wait_ready(&mut self, mut ready: impl FnMut() -> bool) {
        let (name, log) = (self.name.clone(), self.log.clone());
        wait::until_true(&format!("{name} to be ready (its log: {})", log.display()), LONG, || {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                panic!("{name} ended with {status}:\n{}", tail(&log));
            }
            ready()
        });
    }

    /// SIGKILL to it and all its descendants; returns when they are gone.
    pub(crate) fn kill(&mut self) {
        // Stopped, it makes no new ones.
        let pids = self.pause();
        signal_all(&pids, "KILL");
        let _ = self.child.wait();
        wait::until_true("killed processes to be gone", LONG, || !pids.iter().any(|p| is_alive(*p)));
    }

    /// Asks it to end with `name`, and waits.
    ///
    /// # Panics
    /// When it does not.
    pub(crate) fn end(&mut self, name: &str) {
        signal(self.child.id(), name);
        let what = format!("{} to end after SIG{name}", self.name);
        wait::until(&what, LONG, || self.child.try_wait().expect("a child can be asked"));
    }

    /// SIGSTOP to it and all its descendants; returns them.
    pub(crate) fn pause(&self) -> Vec<u32> {
        let mut stopped = vec![self.child.id()];
        loop {
            signal_all(&stopped, "STOP");
            let now = tree(self.child.id());
            if now.iter().all(|pid| stopped.contains(pid)) {
                return now;
            }
            stopped = now;
        }
    }

    /// SIGCONT to it and all its descendants.
    pub(crate) fn resume(&self) {
        signal_all(&tree(self.child.id()), "CONT");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        self.resume();
        signal_all(&[self.child.id()], self.end);
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if std::time::Instant::now() > deadline {
                return self.kill();
            }
            wait::pause(Duration::from_millis(2));
        }
    }
}

/// `setpriv`, to be given a program: as `user`, where it is not us.
pub(crate) fn as_user(user: Option<&str>) -> Command {
    let mut command = Command::new(program::find("setpriv", "util-linux"));
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command
}

/// Whom the programs that refuse root run as: nobody else where we are not root, else PostgreSQL's user,
/// which its package made.
pub(crate) fn unprivileged() -> Option<&'static str> {
    static USER: OnceLock<Option<&str>> = OnceLock::new();
    *USER.get_or_init(|| {
        if program::text(Command::new("id").arg("-u")) != "0" {
            return None;
        }
        let there = Command::new("id").arg("postgres").output().is_ok_and(|o| o.status.success());
        Some(if there { "postgres" } else { "nobody" })
    })
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Whether a process with this id exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z')
}

/// Sends a signal by name.
///
/// # Panics
/// When there is no such process.
#[track_caller]
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(status.expect("kill runs").success(), "kill -{name} {pid}");
}

/// To all that are still there.
fn signal_all(pids: &[u32], name: &str) {
    let pids = pids.iter().map(ToString::to_string);
    let mut command = Command::new("kill");
    let _ = command.arg(format!("-{name}")).args(pids).stderr(Stdio::null()).status();
}

/// A process and all its descendants.
fn tree(root: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("/proc is there").flatten();
    let all: Vec<(u32, u32)> = pids
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| stat(pid).map(|(_, parent)| (pid, parent)))
        .collect();
    let mut found = vec![root];
    let mut looked_at = 0;
    while let Some(&parent) = found.get(looked_at) {
        looked_at += 1;
        found.extend(all.iter().filter(|(pid, of)| *of == parent && *pid != root).map(|(pid, _)| *pid));
    }
    found
}

/// State and parent.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Starts children from a thread that lives as long as the process: the kernel's word at a parent's end
/// comes when the *thread* that forked ends, and a test's thread ends before a `static` does.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::SyncSender<io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::SyncSender<Order>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, orders) = mpsc::sync_channel::<Order>(1);
        thread::spawn(move || {
            for (mut command, answer) in orders {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, child) = mpsc::sync_channel(1);
    let orders = spawner.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    orders.send((command, answer)).expect("the spawner never ends");
    child.recv().expect("the spawner answers")
}
