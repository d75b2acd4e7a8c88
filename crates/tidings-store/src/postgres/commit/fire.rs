//! Schedules that are due: a unit for each, with its job where the fire time has none yet.

use tidings_core::{Job, schedule::Due};

use super::{
    super::{
        Inner,
        fault::Fault,
        look,
        plan::{PlannedSchedule, UnitNo},
        schedule_row::SeenSchedule,
    },
    answer::Answer,
    decide::Decider,
    looked::Looked,
};

/// A schedule that is due, as it was looked at.
pub(super) struct DueSchedule {
    pub(super) seen: SeenSchedule,
    pub(super) due: Due,
    /// The fire time has its job: it was fired by a clock that was set back since.
    there: bool,
}

impl Inner {
    /// `round`: as a rule nobody holds the unique key of a schedule; the write finds out, and only then is looked.
    pub(super) async fn look_for_due(
        &self,
        limit: usize,
        round: usize,
        looked: &mut Looked,
    ) -> Result<Vec<DueSchedule>, Fault> {
        let (now, seen) = look::due(&self.work, self.time.injected(), limit).await?;
        self.time.heard(now);
        let due: Vec<_> = seen.into_iter().filter_map(|seen| Some((seen.schedule.due(now)?, seen))).collect();
        let ids: Vec<_> = due.iter().map(|(due, seen)| (seen.schedule.tenant.clone(), due.job.id)).collect();
        let found = if ids.is_empty() { Vec::new() } else { look::jobs(&self.work, &ids).await? };
        let keys: Vec<_> = due
            .iter()
            .filter_map(|(due, seen)| {
                let spec = &due.job.spec;
                Some((seen.schedule.tenant.clone(), spec.job_type.clone(), spec.unique_key.clone()?))
            })
            .collect();
        if round > 0 && !keys.is_empty() {
            looked.holders.extend(look::holders(&self.work, &keys).await?);
        }
        let there = found.into_iter().map(|found| found.job.is_some());
        Ok(due.into_iter().zip(there).map(|((due, seen), there)| DueSchedule { seen, due, there }).collect())
    }
}

impl Decider<'_> {
    pub(super) fn fire(&mut self, place: usize) -> Answer {
        let due = self.looked.due.remove(&place).unwrap_or_default();
        let found = due.len();
        let mut units: Vec<UnitNo> = Vec::new();
        for DueSchedule { seen: SeenSchedule { version, schedule }, due, there } in due {
            let tenant = schedule.tenant.clone();
            let unit = self.unit(&tenant, false);
            let after = if there {
                schedule.fired(&due)
            } else if self.holder(&tenant, &due.job).is_some() {
                schedule.skipped(&due)
            } else {
                let step = Job::enqueue(tenant, due.job.clone(), self.at);
                self.plan.step(unit, None, step, None);
                schedule.fired(&due)
            };
            self.plan.schedules.push(PlannedSchedule { unit, before: version, schedule: after });
            units.push(unit);
        }
        Answer::Fired { units, found }
    }
}
