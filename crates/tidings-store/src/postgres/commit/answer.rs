//! From what became of the units to what each caller is told.

use std::{ops::Range, sync::Arc};

use tidings_core::{Epoch, Event, Job, Seq, TenantId, Timestamp, job::Refused};

use super::{
    super::{
        Inner, kept,
        outbox::Rejection,
        plan::{Plan, PlannedJob, UnitNo},
        write::{Repeat, Verdict, Written},
    },
    moving::moved,
};
use crate::{
    Claimed, Command, CommandError, Enqueued, Leased, Maintain, Operation, Outcome, Published, Swept,
};

/// How to answer a command from its units.
pub(super) enum Answer {
    Done {
        unit: UnitNo,
    },
    Job {
        unit: UnitNo,
        job: usize,
    },
    Leased {
        unit: UnitNo,
        job: usize,
    },
    Enqueued {
        unit: UnitNo,
        entries: Vec<Entry>,
    },
    Published {
        unit: UnitNo,
        events: Range<usize>,
    },
    /// Refused, unless it repeats what was done before.
    Refused {
        unit: UnitNo,
        error: CommandError,
    },
    /// Each unit with its job; others may have been faster.
    Claimed {
        units: Vec<(UnitNo, usize)>,
        next_due: Option<Timestamp>,
    },
    /// Each unit with the row of the outbox that it moves.
    Moved {
        units: Vec<(UnitNo, i64)>,
        found: usize,
    },
    Rescued {
        units: Vec<UnitNo>,
        found: usize,
    },
    /// Each schedule its unit; another node may have been faster.
    Fired {
        units: Vec<UnitNo>,
        found: usize,
    },
}

/// What one job of an enqueue command comes to.
pub(super) enum Entry {
    /// The place of the new job.
    Created(usize),
    /// Another live job holds its unique key.
    Held(Enqueued),
    /// An earlier job of the same command does.
    Same(usize),
}

/// A plan with what became of it.
pub(super) struct Settled {
    verdicts: Vec<Verdict>,
    /// Rows of the outbox that their tenants do not take.
    pub(super) rejections: Vec<Rejection>,
    repeats: Vec<Repeat>,
    jobs: Vec<Option<Job>>,
    /// The version that each of these jobs has now, where it was written.
    versions: Vec<Option<i64>>,
    events: Vec<Option<Arc<Event>>>,
    epochs: Vec<(TenantId, Epoch)>,
}

impl Settled {
    /// Numbers the events as the database did.
    pub(super) fn new(plan: Plan, written: Written) -> Self {
        let Written { verdicts, tenants, epochs, repeats, .. } = written;
        let mut heads: Vec<Option<Seq>> = tenants.iter().map(|tenant| tenant.map(|(head, _)| head)).collect();
        let mut events = Vec::with_capacity(plan.events.len());
        for planned in plan.events {
            let place = plan.units[planned.unit].tenant;
            let done = verdicts.get(planned.unit) == Some(&Verdict::Done);
            events.push(match (heads.get_mut(place), tenants.get(place)) {
                (Some(Some(head)), Some(Some((_, time)))) if done => {
                    *head = head.next();
                    let tenant = plan.tenants[place].id.clone();
                    Some(Arc::new(Event { seq: *head, time: *time, tenant, fact: planned.fact }))
                }
                _ => None,
            });
        }
        let moved = heads.iter().zip(tenants).map(|(head, before)| *head > before.map(|(head, _)| head));
        let moved = plan.tenants.iter().zip(epochs).zip(moved);
        let epochs =
            moved.filter_map(|((tenant, epoch), moved)| Some((tenant.id.clone(), epoch.filter(|_| moved)?)));
        let epochs = epochs.collect();
        let version = |planned: &PlannedJob| {
            let done = verdicts.get(planned.unit) == Some(&Verdict::Done);
            done.then(|| planned.before.map_or(1, |before| before + 1))
        };
        let versions = plan.jobs.iter().map(version).collect();
        let jobs = plan.jobs.into_iter().map(|planned| {
            let mut job = planned.job;
            let last = planned.events.last().and_then(|at| events[at].as_ref());
            job.seq = last.map_or(job.seq, |event| event.seq);
            Some(job)
        });
        let jobs = jobs.collect();
        Self { verdicts, rejections: Vec::new(), repeats, jobs, versions, events, epochs }
    }

    /// The jobs that are now as the plan says.
    pub(super) fn written(&self) -> impl Iterator<Item = (i64, &Job)> {
        let written = self.versions.iter().zip(&self.jobs);
        written.filter_map(|(version, job)| Some(((*version)?, job.as_ref()?)))
    }

    /// Those that were committed, each tenant's in the order of its seqs, and the histories that they
    /// went into.
    pub(super) fn into_events(self) -> (impl Iterator<Item = Arc<Event>>, Vec<(TenantId, Epoch)>) {
        (self.events.into_iter().flatten(), self.epochs)
    }

    pub(super) fn verdict(&self, unit: UnitNo) -> Verdict {
        self.verdicts.get(unit).copied().unwrap_or(Verdict::Moved)
    }

    fn repeat(&self, unit: UnitNo) -> Option<&Repeat> {
        self.repeats.iter().find(|repeat| repeat.unit == unit)
    }

    fn take_job(&mut self, place: usize) -> Job {
        self.jobs[place].take().expect("a job is answered to one command alone")
    }

    fn enqueued(&mut self, entries: Vec<Entry>) -> Vec<Enqueued> {
        let mut all: Vec<Enqueued> = Vec::with_capacity(entries.len());
        for entry in entries {
            all.push(match entry {
                Entry::Created(place) => {
                    let job = self.take_job(place);
                    Enqueued { id: job.id, job: job.to_json(false), created: true }
                }
                Entry::Held(held) => held,
                Entry::Same(place) => Enqueued { created: false, ..all[place].clone() },
            });
        }
        all
    }

    fn published(&self, places: Range<usize>) -> Vec<Published> {
        let events = self.events[places].iter().flatten();
        events.map(|event| Published { seq: event.seq, id: event.fact.id, time: event.time }).collect()
    }
}

impl Inner {
    /// `None`: its ground has moved, and it has to look again.
    pub(super) fn settle(
        &self,
        command: &Command,
        answer: Answer,
        settled: &mut Settled,
        last: bool,
    ) -> Option<Result<Outcome, CommandError>> {
        let unit = match answer {
            Answer::Claimed { units, next_due } => {
                return self.claimed(command, &units, next_due, settled, last);
            }
            Answer::Rescued { units, found } => {
                let rows = units.iter().filter(|unit| settled.verdict(**unit) == Verdict::Done).count();
                return Some(Ok(Outcome::Swept(Swept {
                    rows,
                    more: is_limit(command, found),
                    ..Swept::default()
                })));
            }
            Answer::Fired { units, found } => {
                let verdicts = || units.iter().map(|unit| settled.verdict(*unit));
                // A unique key that is held is seen by looking again.
                if !last && verdicts().any(|verdict| verdict == Verdict::Moved) {
                    return None;
                }
                let rows = verdicts().filter(|verdict| *verdict == Verdict::Done).count();
                return Some(Ok(Outcome::Swept(Swept {
                    rows,
                    more: is_limit(command, found),
                    ..Swept::default()
                })));
            }
            Answer::Moved { units, found } => {
                return moved(&units, is_limit(command, found), settled, last).map(Ok);
            }
            Answer::Done { unit }
            | Answer::Job { unit, .. }
            | Answer::Leased { unit, .. }
            | Answer::Enqueued { unit, .. }
            | Answer::Published { unit, .. }
            | Answer::Refused { unit, .. } => unit,
        };
        match settled.verdict(unit) {
            Verdict::Done => Some(done(answer, settled)),
            Verdict::Full => Some(Err(CommandError::Refused(Refused::Limited))),
            Verdict::Moved => None,
            // Whether that is true is seen by looking again.
            Verdict::UnknownTenant if !is_new(command) => None,
            Verdict::UnknownTenant => Some(Err(CommandError::UnknownTenant)),
            Verdict::Suspended => Some(Err(CommandError::TenantSuspended)),
            Verdict::Mismatch => Some(Err(CommandError::IdempotencyMismatch)),
            Verdict::AlreadyUsed => Some(Err(CommandError::AlreadyUsed)),
            Verdict::Repeated => settled.repeat(unit).map(|repeat| match answer {
                Answer::Published { .. } => kept::repeated_events(repeat),
                _ => kept::repeated_jobs(repeat),
            }),
        }
    }

    fn claimed(
        &self,
        command: &Command,
        units: &[(UnitNo, usize)],
        next_due: Option<Timestamp>,
        settled: &mut Settled,
        last: bool,
    ) -> Option<Result<Outcome, CommandError>> {
        let Command::Claim(claim) = command else { return None };
        let mut leases = Vec::new();
        for (unit, job) in units {
            if settled.verdict(*unit) == Verdict::Done {
                leases.push(Leased { job: settled.take_job(*job) });
            }
        }
        let outrun = units.iter().any(|(unit, _)| settled.verdict(*unit) == Verdict::Moved);
        if leases.is_empty() && outrun && !last {
            return None;
        }
        if let Some(lease) = leases.last() {
            self.turns.served(claim, lease.job.tenant.clone());
        }
        let next_due = if leases.len() < claim.max { next_due } else { None };
        Some(Ok(Outcome::Claimed(Claimed { leases, next_due })))
    }
}

fn done(answer: Answer, settled: &mut Settled) -> Result<Outcome, CommandError> {
    Ok(match answer {
        Answer::Job { job, .. } => Outcome::Job(Box::new(settled.take_job(job))),
        Answer::Leased { job, .. } => {
            let job = settled.take_job(job);
            Outcome::Claimed(Claimed { leases: vec![Leased { job }], next_due: None })
        }
        Answer::Enqueued { entries, .. } => Outcome::Enqueued(settled.enqueued(entries)),
        Answer::Published { events, .. } => Outcome::Published(settled.published(events)),
        Answer::Refused { error, .. } => return Err(error),
        Answer::Done { .. }
        | Answer::Claimed { .. }
        | Answer::Rescued { .. }
        | Answer::Moved { .. }
        | Answer::Fired { .. } => Outcome::Done,
    })
}

/// Whether a missing tenant is final: the command was to make it or to find it, and names nothing in it.
const fn is_new(command: &Command) -> bool {
    match command {
        Command::Tenant { create, operation, .. } => {
            !*create
                && matches!(
                    operation,
                    Operation::Enqueue { .. }
                        | Operation::EnqueueLeased { .. }
                        | Operation::Publish { .. }
                        | Operation::Ensure
                        | Operation::RedeemTicket { .. }
                )
        }
        _ => false,
    }
}

fn is_limit(command: &Command, found: usize) -> bool {
    matches!(
        command,
        Command::Maintain(
            Maintain::Rescue { limit } | Maintain::Fire { limit } | Maintain::MoveOutbox { limit, .. }
        ) if *limit == found
    )
}
