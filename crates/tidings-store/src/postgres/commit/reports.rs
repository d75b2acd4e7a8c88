//! What dispatchers report, all of it in one transaction.

use std::sync::Arc;

use tidings_core::{Event, EventBody, EventId, EventType, NewEvent, RawJson, TenantId};

use super::{
    super::{
        Inner,
        arrays::Arrays,
        reports::{self, Heard, Said},
    },
    Progress,
};
use crate::{Command, CommandError, CommitError, Operation, Outcome};

impl Inner {
    /// What the database rejects is halved until the culprit stands alone.
    pub(super) async fn commit_reports(
        &self,
        lane: usize,
        commands: &[Command],
        places: &[usize],
        progress: &mut Progress,
    ) -> Result<(), CommitError> {
        // The next part is at the end.
        let mut parts = vec![places];
        while let Some(part) = parts.pop() {
            match self.write_reports(lane, commands, part, progress).await {
                Ok(()) => progress.begun = true,
                Err(CommitError::Rejected(_)) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => progress.settle(part, Err(error))?,
            }
        }
        Ok(())
    }

    async fn write_reports(
        &self,
        lane: usize,
        commands: &[Command],
        part: &[usize],
        progress: &mut Progress,
    ) -> Result<(), CommitError> {
        let now = self.time.now();
        let said: Vec<Said<'_>> = part
            .iter()
            .filter_map(|place| match &commands[*place] {
                Command::Tenant { tenant, operation: Operation::Report(report), .. } => {
                    Some(Said { tenant, report, event: EventId::generate(now, &*self.entropy) })
                }
                _ => None,
            })
            .collect();
        let injected = self.time.injected();
        let arrays = Arrays::said(&said);
        let mut parameters: Vec<super::super::pool::Parameter<'_>> = vec![(&injected, super::INT8)];
        parameters.extend(arrays.parameters());
        let row = self.lanes.call(lane, &*self.report_sql, &parameters).await?;
        let (heard, now) = reports::read(&row).map_err(|error| CommitError::Unknown(error.to_string()))?;
        self.time.heard(now);
        for ((place, said), heard) in part.iter().zip(&said).zip(heard) {
            self.settle_report(*place, said, heard, &commands[*place], progress);
        }
        Ok(())
    }

    fn settle_report(
        &self,
        place: usize,
        said: &Said<'_>,
        heard: Heard,
        command: &Command,
        progress: &mut Progress,
    ) {
        if let Some((seq, time, epoch, data)) = heard.published {
            self.history.reached(said.tenant, epoch.clone(), seq);
            let fact = disabled(said.event, data);
            let event = Event { seq, time, tenant: said.tenant.clone(), fact };
            progress.events.push(Arc::new(event));
            progress.name_epoch(said.tenant.clone(), epoch);
        }
        let create = matches!(command, Command::Tenant { create: true, .. });
        progress.outcomes[place] = Some(match heard.verdict {
            0 => Ok(Outcome::Reported { current: true }),
            1 => Ok(Outcome::Reported { current: false }),
            2 if !create => Err(CommandError::UnknownTenant),
            3 => Err(CommandError::TenantSuspended),
            _ => Err(CommandError::NotFound),
        });
    }
}

impl Progress {
    fn name_epoch(&mut self, tenant: TenantId, epoch: tidings_core::Epoch) {
        match self.epochs.iter_mut().find(|(known, _)| *known == tenant) {
            Some(known) => known.1 = epoch,
            None => self.epochs.push((tenant, epoch)),
        }
    }
}

/// The event as the database wrote it.
fn disabled(id: EventId, data: String) -> NewEvent {
    NewEvent {
        id,
        event_type: EventType::WEBHOOK_DISABLED,
        job: None,
        owner: None,
        subject: None,
        body: EventBody::same_for_all(RawJson::from_stored(data.into_bytes())),
    }
}
