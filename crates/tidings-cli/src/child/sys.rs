//! The few system calls that the standard library has no safe form of.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
};

use tokio::process::Command;

/// Signals a whole process group; one that is gone already is no error.
pub(crate) fn kill_group(group: i32, signal: i32) {
    debug_assert!(group > 1, "0 and 1 would mean ourselves or everyone");
    if group > 1 {
        #[allow(unsafe_code, reason = "there is no safe kill")]
        // SAFETY: kill touches no memory of ours.
        unsafe {
            libc::kill(-group, signal);
        }
    }
}

/// Makes `command` find `progress` at descriptor 3 and die with this process.
pub(super) fn prepare(command: &mut Command, progress: OwnedFd) {
    let parent = std::process::id();
    #[allow(unsafe_code, reason = "descriptors and death signals are set between fork and exec")]
    // SAFETY: the closure runs in the forked child; it calls async-signal-safe functions only and
    // allocates nothing. `progress` lives in the closure until the command is dropped.
    unsafe {
        command.pre_exec(move || after_fork(&progress, parent));
    }
}

fn after_fork(progress: &OwnedFd, parent: u32) -> io::Result<()> {
    place(std::os::fd::AsFd::as_fd(progress))?;
    #[allow(unsafe_code, reason = "there is no safe prctl")]
    // SAFETY: prctl with PR_SET_PDEATHSIG and getppid touch no memory of ours.
    let orphaned = unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have died before the line above: then no signal will come.
        libc::getppid().unsigned_abs() != parent
    };
    if orphaned { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
}

/// Puts a descriptor at 3, to survive exec.
fn place(progress: BorrowedFd<'_>) -> io::Result<()> {
    const AT: i32 = 3;
    let from = progress.as_raw_fd();
    #[allow(unsafe_code, reason = "descriptor 3 is agreed upon with the command")]
    // SAFETY: between fork and exec the child owns its descriptor table; dup2 and fcntl touch no memory.
    let result = unsafe {
        // dup2 onto itself would leave close-on-exec set.
        if from == AT { libc::fcntl(AT, libc::F_SETFD, 0) } else { libc::dup2(from, AT) }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
