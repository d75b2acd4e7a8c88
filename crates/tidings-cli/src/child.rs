//! Runs a command for a job: payload on stdin, progress as JSON lines on descriptor 3, result on stdout.
//!
//! The command leads a process group of its own. It gets SIGTERM when it should stop and SIGKILL after
//! the grace; when it has ended, what is left of its group is killed, so that nothing of one job runs on
//! beside the next. When this process is killed, the kernel kills the command
//! (`PR_SET_PDEATHSIG`) and [`guard`](crate::commands::guard) the rest of its group.

mod capture;
mod guard;
mod progress;
mod spawn;
mod sys;

use std::{ffi::OsString, process::ExitStatus, sync::Arc, time::Duration};

use tidings_client::{
    LeasedJob,
    worker::{JobContext, StopReason},
};
use tidings_core::RawJson;
use tokio::process::Child;

pub(crate) use capture::{Captured, Echo};
pub(crate) use guard::Guard;
pub(crate) use sys::kill_group;

/// After a command has ended, its pipes may be held open by what escaped its group: that is not waited for.
const PIPES_MAX: Duration = Duration::from_secs(2);

/// What to run, and how.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// At least the program.
    pub(crate) argv: Vec<OsString>,
    pub(crate) stdin: Stdin,
    pub(crate) echo: Echo,
    /// Between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
    pub(crate) guard: Guard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// The job's payload.
    Payload,
    /// This process's own.
    Inherited,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// It was told to stop.
    pub(crate) told: Option<StopReason>,
    pub(crate) stdout: Captured,
    /// The end of it.
    pub(crate) stderr: Captured,
}

impl Command {
    /// Runs it to its end, or to the end that the context asks for.
    pub(crate) async fn run(&self, job: &Arc<LeasedJob>, context: &JobContext) -> std::io::Result<Ended> {
        let payload = match self.stdin {
            Stdin::Payload => job.job.payload.clone().unwrap_or_else(RawJson::null),
            Stdin::Inherited => RawJson::null(),
        };
        let mut spawned = spawn::spawn(self, job)?;
        let group = spawned.group;
        let _guarded = self.guard.watch(group);
        let label = format!("{} {}", job.job.job_type, crate::output::short(job.job.id));
        let feed = capture::feed(spawned.child.stdin.take(), payload);
        let stdout = capture::keep_start(spawned.child.stdout.take(), self.echo.clone());
        let stderr = capture::keep_end(spawned.child.stderr.take(), self.echo.clone(), label);
        let progress = progress::forward(spawned.progress, context.clone());
        let pipes = async { tokio::join!(feed, stdout, stderr, progress) };
        tokio::pin!(pipes);
        let waiting = wait(&mut spawned.child, group, context, self.grace);
        tokio::pin!(waiting);
        let (status, told, early) = tokio::select! {
            ended = &mut waiting => {
                let (status, told) = ended?;
                (status, told, None)
            }
            // It closed all its pipes and runs on.
            ((), stdout, stderr, ()) = &mut pipes => {
                let (status, told) = waiting.await?;
                (status, told, Some((stdout, stderr)))
            }
        };
        kill_group(group, libc::SIGKILL);
        let (stdout, stderr) = match early {
            Some(captured) => captured,
            None => match tokio::time::timeout(PIPES_MAX, pipes).await {
                Ok(((), stdout, stderr, ())) => (stdout, stderr),
                Err(_) => (Captured::default(), Captured::default()),
            },
        };
        Ok(Ended { status, told, stdout, stderr })
    }
}

async fn wait(
    child: &mut Child,
    group: i32,
    context: &JobContext,
    grace: Duration,
) -> std::io::Result<(ExitStatus, Option<StopReason>)> {
    let told = tokio::select! {
        biased;
        status = child.wait() => return Ok((status?, None)),
        reason = context.stopped() => reason,
    };
    kill_group(group, libc::SIGTERM);
    if let Ok(status) = tokio::time::timeout(grace, child.wait()).await {
        return Ok((status?, Some(told)));
    }
    kill_group(group, libc::SIGKILL);
    Ok((child.wait().await?, Some(told)))
}
