use std::{
    io::Write as _,
    process::{ChildStdin, Stdio},
    sync::{Arc, Mutex},
};

use crate::commands::guard::NAME;

/// Another process that outlives this one by a moment: told of each command's process group, it kills
/// those that are left when this process is gone, however it went. The kernel's own death signal reaches
/// the command alone, not what the command has started.
#[derive(Debug, Clone)]
pub(crate) struct Guard(Arc<Mutex<ChildStdin>>);

/// Ends the watch over one group.
#[derive(Debug)]
pub(crate) struct Watch {
    guard: Guard,
    group: i32,
}

impl Guard {
    pub(crate) fn start() -> std::io::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let mut child = std::process::Command::new(std::env::current_exe()?)
            .arg(NAME)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // The terminal's Ctrl-C is not for it.
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take().expect("it was piped");
        // It ends when the pipe does; nobody needs to wait for it.
        std::thread::spawn(move || child.wait());
        Ok(Self(Arc::new(Mutex::new(stdin))))
    }

    pub(crate) fn watch(&self, group: i32) -> Watch {
        self.tell(&format!("+{group}\n"));
        Watch { guard: self.clone(), group }
    }

    /// A guard that is gone cannot be helped: commands still die with this process, if not all of theirs.
    fn tell(&self, line: &str) {
        let mut stdin = self.0.lock().expect("no panic while held");
        let _ = stdin.write_all(line.as_bytes());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Dropped midway (a run that was given up): nothing of it may stay.
        super::kill_group(self.group, libc::SIGKILL);
        self.guard.tell(&format!("-{}\n", self.group));
    }
}
