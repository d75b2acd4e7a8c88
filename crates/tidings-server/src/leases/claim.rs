use std::{sync::Arc, time::Duration};

use tidings_core::{Clock, JobType, Tenants, Timestamp, WorkerName};
use tidings_store::{Claim, Command, CommandError, Journal, Leased, Operation, Outcome};
use tokio::{runtime::Handle, sync::oneshot, time::Instant};
use tokio_util::task::TaskTracker;

use crate::{drain::Drain, problem::Problem, refusal, rescue::LeaseActivity};

use super::{Desk, polls::Polls};

/// Takes jobs for workers, and waits for them.
#[derive(Clone)]
pub(crate) struct Claimer(Arc<Parts>);

struct Parts {
    journal: Journal,
    desk: Desk,
    drain: Drain,
    clock: Arc<dyn Clock>,
    activity: LeaseActivity,
    length: Duration,
    look_again: Option<Duration>,
    polls: Polls,
    tasks: TaskTracker,
    runtime: Handle,
}

/// What a worker asks for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) tenants: Tenants,
    pub(crate) worker: WorkerName,
    pub(crate) types: Vec<JobType>,
    pub(crate) max: usize,
    pub(crate) wait: Duration,
}

/// Leases that no worker has got yet: dropped, they go back without spending an attempt.
pub(crate) struct Undelivered {
    leases: Vec<Leased>,
    claimer: Claimer,
}

impl Claimer {
    /// How long one worker of those that wait for the same lets pass before it looks again, where other servers
    /// enqueue as well: their commits ring no bell here.
    pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);

    /// `look_again` is for a store that other servers write to. Must be called on the runtime that serves.
    pub(crate) fn new(
        journal: Journal,
        desk: Desk,
        drain: Drain,
        clock: Arc<dyn Clock>,
        activity: LeaseActivity,
        length: Duration,
        look_again: Option<Duration>,
    ) -> Self {
        let (polls, tasks, runtime) = (Polls::default(), TaskTracker::new(), Handle::current());
        let parts =
            Parts { journal, desk, drain, clock, activity, length, look_again, polls, tasks, runtime };
        Self(Arc::new(parts))
    }

    /// Up to `max` leases; where none is to be had, waits for one. Empty when the wait is over, the worker
    /// ends it or the server stops. Dropping the future gives back what was taken meanwhile.
    pub(crate) async fn claim(&self, wanted: &Wanted) -> Result<Undelivered, Problem> {
        self.0.drain.refuse()?;
        if wanted.wait.is_zero() {
            return Ok(self.look(wanted).await?.0);
        }
        let poll = self.0.polls.begin(&wanted.worker, &wanted.tenants);
        let place = self.0.desk.take_place(wanted.tenants.clone(), wanted.types.clone());
        let deadline = Instant::now() + wanted.wait;
        loop {
            let (found, next_due) = self.look(wanted).await?;
            if !found.leases.is_empty() {
                place.leave_served(found.leases.len() == wanted.max, next_due);
                return Ok(found);
            }
            tokio::select! {
                () = place.wait(next_due) => {}
                () = tokio::time::sleep_until(deadline) => return Ok(found),
                () = poll.over() => return Ok(found),
                () = self.0.drain.started() => return Ok(found),
            }
        }
    }

    /// Has the polls of a worker that waits for these tenants' jobs answered at once; returns how many.
    pub(crate) fn end_polls(&self, worker: &WorkerName, tenants: &Tenants) -> usize {
        self.0.polls.end(worker, tenants)
    }

    /// A claim by another command: a job that is enqueued and leased at once.
    pub(crate) async fn claim_by(&self, command: Command) -> Result<Undelivered, Problem> {
        self.0.drain.refuse()?;
        Ok(self.ask(command).await?.0)
    }

    /// How long a lease holds without a heartbeat.
    pub(crate) fn length(&self) -> Duration {
        self.0.length
    }

    /// A lease was extended: leases run, and may be lost.
    pub(crate) fn saw_activity(&self) {
        self.0.activity.touch();
    }

    async fn look(&self, wanted: &Wanted) -> Result<(Undelivered, Option<Timestamp>), Problem> {
        let claim = Claim {
            tenants: wanted.tenants.clone(),
            worker: wanted.worker.clone(),
            types: wanted.types.clone(),
            max: wanted.max,
            length: self.0.length,
        };
        self.ask(Command::Claim(claim)).await
    }

    /// Asks the store once. The claim runs to its end even where nobody waits for it any more.
    async fn ask(&self, command: Command) -> Result<(Undelivered, Option<Timestamp>), Problem> {
        let (answer, asked) = oneshot::channel();
        let claimer = self.clone();
        self.0.tasks.spawn(async move {
            let outcome = claimer.0.journal.submit(command).await;
            // Where the receiver is gone, dropping the answer gives the leases back.
            let _ = answer.send(claimer.taken(outcome));
        });
        let taken = asked.await.unwrap_or(Err(CommandError::Unavailable));
        taken.map_err(refusal::of_command)
    }

    fn taken(
        &self,
        outcome: Result<Outcome, CommandError>,
    ) -> Result<(Undelivered, Option<Timestamp>), CommandError> {
        match outcome? {
            Outcome::Claimed(claimed) => {
                if !claimed.leases.is_empty() {
                    self.0.activity.touch();
                }
                let next_due = self.next_look(claimed.next_due);
                Ok((Undelivered { leases: claimed.leases, claimer: self.clone() }, next_due))
            }
            other => unreachable!("a claim is answered by leases, not by {other:?}"),
        }
    }

    /// When a worker that found nothing should look again unless it is rung for before.
    fn next_look(&self, due: Option<Timestamp>) -> Option<Timestamp> {
        let now = self.0.clock.now();
        // A limit may keep back what is due: looking again at once would find it kept back still.
        let due = due.map(|due| due.max(now + Duration::from_millis(50)));
        let again = self.0.look_again.map(|every| now + every);
        due.into_iter().chain(again).min()
    }

    fn give_back(&self, leases: Vec<Leased>) {
        let claimer = self.clone();
        self.0.tasks.spawn_on(
            async move {
                for Leased { job } in leases {
                    let operation = Operation::Release { job: job.id, lease_no: job.lease_no };
                    let release = Command::Tenant { tenant: job.tenant, create: false, operation };
                    if let Err(error) = claimer.0.journal.submit(release).await {
                        // Its time runs out and it is rescued.
                        tracing::debug!(%error, job = %job.id, "an undelivered lease could not be given back");
                    }
                }
            },
            &self.0.runtime,
        );
    }

    /// Rings the desk when something falls due; runs until cancelled.
    pub(crate) async fn ring_when_due(self) {
        loop {
            let now = self.0.clock.now();
            self.0.desk.ring_due(now);
            match self.0.desk.next_due() {
                Some(due) => tokio::select! {
                    () = tokio::time::sleep(due.since(now)) => {}
                    () = self.0.desk.due_moved() => {}
                },
                None => self.0.desk.due_moved().await,
            }
        }
    }

    /// Waits for claims in flight and for leases that are going back.
    pub(crate) async fn settle(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Undelivered {
    pub(crate) fn leases(&self) -> &[Leased] {
        &self.leases
    }

    /// The worker has them.
    pub(crate) fn delivered(mut self) {
        self.leases.clear();
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if !self.leases.is_empty() {
            self.claimer.give_back(std::mem::take(&mut self.leases));
        }
    }
}

impl std::fmt::Debug for Claimer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claimer").field("desk", &self.0.desk).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Undelivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Undelivered").field("leases", &self.leases.len()).finish_non_exhaustive()
    }
}
