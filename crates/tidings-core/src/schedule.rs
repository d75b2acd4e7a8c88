//! A schedule: a job that is enqueued again and again, at times that a cron expression says.
//!
//! A [`Timing`] is when; a [`ScheduleSpec`] adds what is enqueued; a [`Schedule`] adds where it stands. Its
//! next fire time is decided when the one before has passed and is stored, so that no two nodes with
//! different ideas of a time zone can fire it twice.
//!
//! [`Schedule::due`] says what a moment asks for. Runs that were missed collapse into the newest one. A fire
//! time has one job, whose id is [derived](crate::JobId::of_fire) from it.

mod cron;
mod timing;
mod zone;

pub use cron::{Cron, CronError};
pub use timing::{Timing, TimingError};
pub use zone::{Zone, ZoneError};

use crate::{JobId, NewJob, ScheduleId, ScheduleName, TenantId, Timestamp, UniqueKey, job::JobSpec};

/// What a schedule is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleSpec {
    pub name: ScheduleName,
    pub timing: Timing,
    pub overlap: Overlap,
    /// What is enqueued; without a unique key of its own.
    pub job: JobSpec,
}

/// What happens at a fire time while the job of an earlier one is not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// Another job is enqueued beside it.
    #[default]
    Allow,
    /// Nothing is enqueued: the fire time is skipped.
    Skip,
}

/// A schedule and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub id: ScheduleId,
    pub tenant: TenantId,
    pub spec: ScheduleSpec,
    pub paused: bool,
    pub created_at: Timestamp,
    /// Absent while it is paused, or where no time will ever come.
    pub next_fire: Option<Timestamp>,
    /// The newest fire time that has a job, and that job.
    pub last_fire: Option<(Timestamp, JobId)>,
    /// The newest fire time that was skipped since an earlier job was not finished.
    pub last_skip: Option<Timestamp>,
}

/// A fire time that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The newest that is not in the future: what was missed before it has collapsed into it.
    pub at: Timestamp,
    /// The first that is.
    pub next: Option<Timestamp>,
    pub job: NewJob,
}

impl Overlap {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Allow, Self::Skip].into_iter().find(|overlap| overlap.as_str() == text)
    }
}

impl ScheduleSpec {
    /// The job of one fire, or of a trigger by hand.
    pub fn job(&self, id: JobId) -> NewJob {
        let mut spec = self.job.clone();
        spec.unique_key = match self.overlap {
            Overlap::Allow => None,
            Overlap::Skip => Some(self.unique_key()),
        };
        NewJob { id, spec, run_at: None }
    }

    fn unique_key(&self) -> UniqueKey {
        UniqueKey::new(format!("schedule:{}", self.name)).expect("a schedule's name is a valid label")
    }
}

impl Schedule {
    /// A new one. It fires at the first time after `now`.
    pub fn new(id: ScheduleId, tenant: TenantId, spec: ScheduleSpec, now: Timestamp) -> Self {
        let next_fire = spec.timing.next_after(now);
        Self { id, tenant, spec, paused: false, created_at: now, next_fire, last_fire: None, last_skip: None }
    }

    /// Does something else from now on. While the timing stays the same, so does the next fire time, and
    /// with it a run that was missed.
    #[must_use]
    pub fn replaced(mut self, spec: ScheduleSpec, now: Timestamp) -> Self {
        if !self.paused && spec.timing != self.spec.timing {
            self.next_fire = spec.timing.next_after(now);
        }
        self.spec = spec;
        self
    }

    #[must_use]
    pub fn paused(mut self) -> Self {
        self.paused = true;
        self.next_fire = None;
        self
    }

    /// Fires again, from the first time after `now`: what fell into the pause is not caught up on.
    #[must_use]
    pub fn resumed(mut self, now: Timestamp) -> Self {
        if self.paused {
            self.paused = false;
            self.next_fire = self.spec.timing.next_after(now);
        }
        self
    }

    /// What `now` asks for; `None` where it is too early.
    pub fn due(&self, now: Timestamp) -> Option<Due> {
        let first = self.next_fire.filter(|first| !self.paused && *first <= now)?;
        let (at, next) = self.spec.timing.newest(first, now);
        Some(Due { at, next, job: self.spec.job(JobId::of_fire(self.id, at)) })
    }

    /// The next fire times, at most `count`; none while it is paused.
    pub fn upcoming(&self, count: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_fire, |at| self.spec.timing.next_after(*at)).take(count).collect()
    }

    /// The job of a due fire time is there.
    #[must_use]
    pub fn fired(mut self, due: &Due) -> Self {
        self.last_fire = Some((due.at, due.job.id));
        self.next_fire = due.next;
        self
    }

    /// An earlier job was not finished.
    #[must_use]
    pub fn skipped(mut self, due: &Due) -> Self {
        self.last_skip = Some(due.at);
        self.next_fire = due.next;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::{JobType, RawJson};

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn spec(cron: &str, zone: &str) -> ScheduleSpec {
        ScheduleSpec {
            name: ScheduleName::new("nightly").expect("valid"),
            timing: Timing {
                cron: cron.parse().expect("an expression"),
                zone: zone.parse().expect("a zone"),
            },
            overlap: Overlap::Allow,
            job: JobSpec::new(JobType::new("report").expect("valid"), RawJson::null()),
        }
    }

    fn schedule(cron: &str, zone: &str) -> Schedule {
        let tenant = TenantId::new("acme").expect("valid");
        Schedule::new(ScheduleId::from_bytes([7; 16]), tenant, spec(cron, zone), START)
    }

    #[test]
    fn missed_runs_collapse_into_the_newest() {
        let schedule = schedule("*/10 * * * *", "UTC");
        let first = schedule.next_fire.expect("there is one");
        assert_eq!(schedule.upcoming(2), [first, first + Duration::from_mins(10)]);
        assert_eq!(schedule.due(first - Duration::from_micros(1)), None);
        let on_time = schedule.due(first).expect("due");
        assert_eq!((on_time.at, on_time.next), (first, Some(first + Duration::from_mins(10))));
        let late = schedule.due(first + Duration::from_hours(5) + Duration::from_secs(61)).expect("due");
        assert_eq!(late.at, first + Duration::from_hours(5));
        assert_eq!(late.next, Some(first + Duration::from_mins(310)));
        assert_eq!(late.job.id, JobId::of_fire(schedule.id, late.at));
        let after = schedule.fired(&late);
        assert_eq!(after.last_fire, Some((late.at, late.job.id)));
        assert_eq!(after.due(late.at + Duration::from_mins(1)), None, "once");
    }

    #[test]
    fn a_pause_is_not_caught_up_on() {
        let paused = schedule("0 * * * *", "UTC").paused();
        assert_eq!((paused.next_fire, paused.due(START + Duration::from_hours(9))), (None, None));
        let later = START + Duration::from_hours(9);
        let resumed = paused.resumed(later);
        assert!(resumed.next_fire.is_some_and(|next| next > later));
        let again = resumed.clone().resumed(later + Duration::from_hours(2));
        assert_eq!(again, resumed, "what is not paused is not resumed");
    }

    #[test]
    fn the_same_timing_keeps_a_missed_run() {
        let schedule = schedule("0 * * * *", "UTC");
        let later = START + Duration::from_hours(9);
        let mut busy = spec("0 * * * *", "UTC");
        busy.overlap = Overlap::Skip;
        let same = schedule.clone().replaced(busy, later);
        assert_eq!(same.next_fire, schedule.next_fire);
        assert_eq!(
            same.due(later).expect("missed").job.spec.unique_key.expect("one").as_str(),
            "schedule:nightly"
        );
        let other = schedule.replaced(spec("30 * * * *", "UTC"), later);
        assert!(other.next_fire.is_some_and(|next| next > later));
        let paused = other.paused().replaced(spec("0 0 * * *", "UTC"), later);
        assert_eq!(paused.next_fire, None);
    }

    proptest! {
        /// However the clock runs, also backwards: fire times rise, none lies in the future, the next always
        /// does, and no two of them lie between the same looks.
        #[test]
        fn fire_times_rise_however_the_clock_runs(
            steps in prop::collection::vec(-20_000_i64..200_000, 1..40),
            cron in prop::sample::select(vec!["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 * * MON", "0 0 1 * *"]),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
        ) {
            let mut schedule = schedule(cron, zone);
            let (mut now, mut last) = (START, None);
            for step in steps {
                now = Timestamp::from_micros(now.as_micros() + step * 1_000_000);
                let Some(due) = schedule.due(now) else { continue };
                let next = due.next.expect("it goes on");
                prop_assert!(due.at <= now && now < next);
                prop_assert!(last.is_none_or(|last| last < due.at));
                prop_assert_eq!(schedule.spec.timing.next_after(due.at), Some(next), "none lies between");
                last = Some(due.at);
                schedule = schedule.fired(&due);
                prop_assert_eq!(schedule.due(now), None);
            }
        }
    }
}
