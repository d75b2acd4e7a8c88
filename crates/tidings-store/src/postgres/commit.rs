//! A batch: look, decide, write, and again for what lost a race.

mod answer;
mod claim;
mod decide;
mod enqueue;
mod fire;
mod looked;
mod moving;
mod recent;
mod reports;

use std::sync::Arc;

use tidings_core::{
    Epoch, Event, TenantId,
    job::{Moment, Refused},
};

use super::{
    Inner, advance,
    arrays::Arrays,
    lane::Call,
    plan::Plan,
    write::{self, Written},
};
use crate::{Command, CommandError, CommitError, Committed, Maintain, Operation, Outcome};
use answer::{Answer, Settled};
pub(super) use claim::Turns;
use decide::Decider;
use looked::Looked;
pub(super) use recent::Recent;

/// How often a command that loses races looks again.
const ROUNDS: usize = 8;

/// A batch on its way: each command has its outcome once it is known.
struct Progress {
    outcomes: Vec<Option<Result<Outcome, CommandError>>>,
    events: Vec<Arc<Event>>,
    /// The histories that they went into, in order of the tenants' first events.
    epochs: Vec<(TenantId, Epoch)>,
    /// Something of it is on stable storage: whatever fails now fails alone.
    begun: bool,
}

impl Inner {
    /// Most commands go together, in one transaction. Those that are rare go alone, in their order. What dispatchers
    /// report comes last and in a transaction of its own: no two commands of a batch concern one endpoint. The journal's batches
    /// are all reports or none.
    pub(super) async fn commit(&self, lane: usize, commands: &[Command]) -> Result<Committed, CommitError> {
        let mut progress = Progress {
            outcomes: vec![None; commands.len()],
            events: Vec::new(),
            epochs: Vec::new(),
            begun: false,
        };
        let (reports, others): (Vec<usize>, Vec<usize>) =
            (0..commands.len()).partition(|place| commands[*place].is_report());
        for places in others.chunk_by(|a, b| goes_along(&commands[*a]) && goes_along(&commands[*b])) {
            let first = &commands[places[0]];
            if goes_along(first) || is_fire(first) {
                self.commit_together(lane, commands, places.to_vec(), &mut progress).await?;
            } else {
                let outcome = self.commit_alone(lane, first).await;
                progress.settle(places, outcome)?;
            }
        }
        if !reports.is_empty() {
            self.commit_reports(lane, commands, &reports, &mut progress).await?;
        }
        let outcomes = progress.outcomes.into_iter();
        Ok(Committed {
            outcomes: outcomes.map(|outcome| outcome.unwrap_or(Err(CommandError::Busy))).collect(),
            events: progress.events,
            epochs: progress.epochs,
        })
    }

    /// What the database rejects is halved until the culprit stands alone.
    async fn commit_together(
        &self,
        lane: usize,
        commands: &[Command],
        places: Vec<usize>,
        progress: &mut Progress,
    ) -> Result<(), CommitError> {
        // The next part is at the end.
        let mut parts = vec![places];
        while let Some(mut part) = parts.pop() {
            for round in 0..ROUNDS {
                part.retain(|place| progress.outcomes[*place].is_none());
                if part.is_empty() {
                    break;
                }
                match self.round(lane, commands, &part, round, progress).await {
                    Err(CommitError::Rejected(_)) if part.len() > 1 => {
                        let second = part.split_off(part.len() / 2);
                        parts.extend([second, part]);
                        break;
                    }
                    Err(CommitError::Rejected(_))
                        if let Command::Maintain(Maintain::MoveOutbox { limit, create }) =
                            commands[part[0]] =>
                    {
                        let moved = self.move_one_by_one(lane, limit, create, progress).await;
                        progress.settle(&part, moved.map(Ok))?;
                    }
                    Err(error) => progress.settle(&part, Err(error))?,
                    Ok(()) => progress.begun = true,
                }
            }
        }
        Ok(())
    }

    async fn round(
        &self,
        lane: usize,
        commands: &[Command],
        part: &[usize],
        round: usize,
        progress: &mut Progress,
    ) -> Result<(), CommitError> {
        let looked = self.look(commands, part, round).await?;
        let mut decider = self.decider(looked);
        let mut answers: Vec<(usize, Answer)> = Vec::new();
        let mut fenced = Vec::new();
        let last = round + 1 == ROUNDS;
        for place in part {
            match decider.command(&commands[*place], *place) {
                // The next round looks for it.
                Ok(_) if !last && decider.looked.later.contains(place) => {}
                Ok(answer) => answers.push((*place, answer)),
                Err(CommandError::Refused(Refused::LeaseLost)) if round == 0 => fenced.push(*place),
                // The next round looks.
                Err(_) if decider.looked.remembered.contains(place) => {}
                Err(refused) => progress.outcomes[*place] = Some(Err(refused)),
            }
        }
        let (plan, mut rejections) = (decider.plan, decider.rejections);
        let written = if plan.is_empty() { Written::nothing() } else { self.write(lane, &plan).await? };
        let mut settled = Settled::new(plan, written);
        self.recent.remember(settled.written());
        for (place, answer) in answers {
            progress.outcomes[place] = self.settle(&commands[place], answer, &mut settled, last);
        }
        rejections.append(&mut settled.rejections);
        progress.take(settled);
        if let Err(fault) = self.reject(&rejections).await {
            // They stay where they are, and the next look finds them again.
            tracing::warn!(reason = fault.text(), "setting rows of the outbox aside failed");
        }
        // Were they lost in an outage that nobody has ended yet? The next round finds what they are then.
        if !fenced.is_empty() && self.end_outage(None).await.is_err() {
            for place in fenced {
                progress.outcomes[place] = Some(Err(CommandError::Unavailable));
            }
        }
        Ok(())
    }

    fn decider(&self, looked: Looked) -> Decider<'_> {
        let at = Moment { now: self.time.now(), entropy: &*self.entropy };
        Decider { limits: self.concurrency.now(), looked, plan: Plan::default(), rejections: Vec::new(), at }
    }

    async fn write(&self, lane: usize, plan: &Plan) -> Result<Written, CommitError> {
        let epochs = self.known.epochs(plan, &*self.entropy);
        let order = advance::Order::of(plan, &epochs);
        let (call, arrays) = match &order {
            Some(order) => (Call { sql: &self.advance_sql, asks_again: true }, Arrays::advanced(plan, order)),
            None if plan.schedules.is_empty() => (Call::from(&*self.commit_sql), Arrays::of(plan, &epochs)),
            None => (Call::from(&*self.fire_sql), Arrays::of(plan, &epochs)),
        };
        let injected = self.time.injected();
        let mut parameters = vec![(&injected as &(dyn tokio_postgres::types::ToSql + Sync), INT8)];
        parameters.extend(arrays.parameters());
        let row = self.lanes.call(lane, call, &parameters).await?;
        let written = match &order {
            Some(order) => advance::read(&row, plan, order),
            None => write::read(&row),
        };
        let written = written.map_err(|error| CommitError::Unknown(error.to_string()))?.missed(plan);
        self.time.heard(written.now);
        self.known.learn(plan, &written);
        self.remember_heads(plan, &written);
        Ok(written)
    }
}

impl Inner {
    /// What was committed must be there after a fail-over as well, or its history gets a new name.
    fn remember_heads(&self, plan: &Plan, written: &Written) {
        let mut counts = vec![0_u64; plan.tenants.len()];
        for event in &plan.events {
            if written.verdicts.get(event.unit) == Some(&write::Verdict::Done) {
                counts[plan.units[event.unit].tenant] += 1;
            }
        }
        let known = written.tenants.iter().zip(&written.epochs);
        for ((tenant, count), known) in plan.tenants.iter().zip(counts).zip(known) {
            if let (Some((base, _)), Some(epoch)) = known
                && count > 0
            {
                self.history.reached(&tenant.id, epoch.clone(), base.plus(count));
            }
        }
    }
}

const INT8: tokio_postgres::types::Type = tokio_postgres::types::Type::INT8;

impl Progress {
    /// Takes the events that were committed, and names the tenant of each once.
    fn take(&mut self, settled: Settled) {
        let (events, epochs) = settled.into_events();
        self.events.extend(events);
        if self.epochs.is_empty() {
            self.epochs = epochs;
            return;
        }
        for (tenant, epoch) in epochs {
            match self.epochs.iter_mut().find(|(known, _)| *known == tenant) {
                Some(known) => known.1 = epoch,
                None => self.epochs.push((tenant, epoch)),
            }
        }
    }

    /// Ends these commands alike. The whole batch fails where nothing of it has been done before.
    fn settle(
        &mut self,
        places: &[usize],
        outcome: Result<Result<Outcome, CommandError>, CommitError>,
    ) -> Result<(), CommitError> {
        let whole = !self.begun && places.len() == self.outcomes.len();
        let outcome = match outcome {
            Ok(outcome) => {
                self.begun = true;
                outcome
            }
            Err(error @ (CommitError::Unavailable(_) | CommitError::Unknown(_))) if whole => {
                return Err(error);
            }
            Err(CommitError::Rejected(text)) => Err(CommandError::Rejected(text)),
            Err(CommitError::Unavailable(_)) => Err(CommandError::Unavailable),
            Err(CommitError::Unknown(_)) => Err(CommandError::OutcomeUnknown),
        };
        for place in places {
            self.outcomes[*place] = Some(outcome.clone());
        }
        Ok(())
    }
}

/// Whether a command is done in one transaction with its neighbours.
const fn goes_along(command: &Command) -> bool {
    match command {
        Command::Tenant { operation, .. } => !matches!(
            operation,
            Operation::Create
                | Operation::SetState(_)
                | Operation::Delete
                | Operation::RenewEpoch
                | Operation::PutKey(_)
                | Operation::RevokeKey(_)
                | Operation::PutSchedule { .. }
                | Operation::PauseSchedule(_)
                | Operation::ResumeSchedule(_)
                | Operation::DeleteSchedule(_)
                | Operation::PutEndpoint(_)
                | Operation::ChangeEndpoint { .. }
                | Operation::DeleteEndpoint(_)
                | Operation::PauseEndpointsOf(_)
                | Operation::Replay { .. }
        ),
        Command::Claim(_) | Command::Maintain(Maintain::Rescue { .. } | Maintain::MoveOutbox { .. }) => true,
        Command::PutOperatorKey(_) | Command::RevokeOperatorKey(_) | Command::Maintain(_) => false,
    }
}

/// Looks, decides and writes like those that go together, but in a transaction of its own.
const fn is_fire(command: &Command) -> bool {
    matches!(command, Command::Maintain(Maintain::Fire { .. }))
}
