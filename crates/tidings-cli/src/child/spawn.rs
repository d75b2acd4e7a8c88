use std::{io, os::fd::OwnedFd, process::Stdio};

use tidings_client::LeasedJob;
use tokio::{net::unix::pipe, process::Child};

use super::{Command, Stdin, sys};

pub(super) struct Spawned {
    pub(super) child: Child,
    /// The process group that it leads: its own process id.
    pub(super) group: i32,
    /// What it writes to descriptor 3.
    pub(super) progress: pipe::Receiver,
}

pub(super) fn spawn(command: &Command, job: &LeasedJob) -> io::Result<Spawned> {
    let (reader, writer) = io::pipe()?;
    let progress = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let (program, args) = command.argv.split_first().expect("at least the program");
    let mut process = tokio::process::Command::new(program);
    process
        .args(args)
        .stdin(match command.stdin {
            Stdin::Payload => Stdio::piped(),
            Stdin::Inherited => Stdio::inherit(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("TIDINGS_JOB_ID", job.job.id.to_string())
        .env("TIDINGS_JOB_TYPE", job.job.job_type.as_str())
        .env("TIDINGS_JOB_ATTEMPT", job.attempt.to_string())
        .env("TIDINGS_JOB_TENANT", job.job.tenant_id.as_str())
        .process_group(0)
        .kill_on_drop(true);
    sys::prepare(&mut process, OwnedFd::from(writer));
    // The writer goes with `process`: after this, the child alone holds it.
    let child = process.spawn()?;
    drop(process);
    let group = child.id().and_then(|id| i32::try_from(id).ok()).expect("it runs and has an id");
    Ok(Spawned { child, group, progress })
}
