//! Schedules through crashes: random clocks, pauses, suspensions and deaths. What the store has is what
//! `tidings_core::Schedule` alone makes of the same calls: one job for each fire time, and none twice.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tidings_core::{
    Clock as _, JobId, Schedule, ScheduleId, ScheduleName, ScheduleSpec, Seq,
    schedule::{Overlap, Timing},
};

use super::{TempDir, open};
use crate::{
    Command, JobQuery, Maintain, OpenError, Operation, Outcome, TenantState,
    conformance::{ManualClock, World, tenant_id, work},
};

const TENANT: &str = "acme";
const NAME: &str = "minutely";
const STEPS: usize = 120;
const ROUNDS: usize = 10;

struct Trial {
    dir: TempDir,
    clock: Arc<ManualClock>,
    world: World,
    random: StdRng,
    schedule: Schedule,
    /// Oldest first.
    jobs: Vec<JobId>,
    suspended: bool,
}

/// A program that is being started elsewhere in this process has the folder's lock for a moment as well.
fn reopen(dir: &TempDir, clock: &Arc<ManualClock>) -> World {
    let deadline = Instant::now() + Duration::from_secs(10);
    let store = loop {
        match open(dir.path(), Arc::clone(clock) as _) {
            Err(OpenError::Locked(_)) if Instant::now() < deadline => std::thread::yield_now(),
            opened => break opened.expect("opens"),
        }
    };
    World { store: Arc::new(store), clock: Arc::clone(clock) }
}

impl Trial {
    async fn new(seed: u64) -> Self {
        let (dir, clock) = (TempDir::new(), Arc::<ManualClock>::default());
        let world = reopen(&dir, &clock);
        let mut random = StdRng::seed_from_u64(seed);
        let cron = ["* * * * *", "*/7 * * * *", "30 * * * *"][random.random_range(0..3)];
        let spec = ScheduleSpec {
            name: ScheduleName::new(NAME).expect("valid"),
            timing: Timing {
                cron: cron.parse().expect("an expression"),
                zone: "Europe/Berlin".parse().expect("a zone"),
            },
            overlap: Overlap::Allow,
            job: work().spec,
        };
        let id = ScheduleId::from_bytes(random.random());
        let put = Operation::PutSchedule { id, spec: Box::new(spec), replaces: None };
        let Ok(Outcome::Schedule(schedule)) = world.operate(TENANT, put).await else { panic!("it is new") };
        Self { dir, clock, world, random, schedule: *schedule, jobs: Vec::new(), suspended: false }
    }

    async fn step(mut self) -> Self {
        match self.random.random_range(0..10) {
            0..4 => self.clock.advance(Duration::from_secs(self.random.random_range(0..400))),
            4..8 => self.fire().await,
            8 if self.random.random() => self.pause().await,
            8 => self.suspend().await,
            _ => {
                // Dropping the store leaves what a killed process would.
                drop(self.world);
                self.clock.advance(Duration::from_secs(self.random.random_range(0..4_000)));
                self.world = reopen(&self.dir, &self.clock);
            }
        }
        self
    }

    async fn fire(&mut self) {
        let times = self.random.random_range(1..=3);
        for _ in 0..times {
            self.world.run(Command::Maintain(Maintain::Fire { limit: 10 })).await.expect("fires");
        }
        if let Some(due) = self.schedule.due(self.clock.now()).filter(|_| !self.suspended) {
            self.jobs.push(due.job.id);
            self.schedule = self.schedule.clone().fired(&due);
        }
    }

    async fn pause(&mut self) {
        if self.suspended {
            return;
        }
        let id = self.schedule.id;
        let (operation, after) = if self.schedule.paused {
            (Operation::ResumeSchedule(id), self.schedule.clone().resumed(self.clock.now()))
        } else {
            (Operation::PauseSchedule(id), self.schedule.clone().paused())
        };
        self.world.operate(TENANT, operation).await.expect("is there");
        self.schedule = after;
    }

    async fn suspend(&mut self) {
        self.suspended = !self.suspended;
        let state = if self.suspended { TenantState::Suspended } else { TenantState::Active };
        self.world.operate(TENANT, Operation::SetState(state)).await.expect("is there");
    }

    async fn check(&self) {
        let (tenant, store) = (tenant_id(TENANT), &self.world.store);
        let stored = store.schedule(&tenant, &self.schedule.spec.name).await.expect("reads");
        assert_eq!(stored.as_ref(), Some(&self.schedule));
        let query = JobQuery { limit: 1_000, ..JobQuery::default() };
        let mut jobs: Vec<_> =
            store.jobs(&tenant, &query).await.expect("reads").jobs.iter().map(|job| job.id).collect();
        jobs.reverse();
        assert_eq!(jobs, self.jobs);
        let log = self.world.log(TENANT).await;
        let told: Vec<_> = log.iter().filter_map(|event| event.fact.job.as_ref()).map(|job| job.id).collect();
        assert_eq!(told, self.jobs, "one event each");
        assert_eq!(log.last().map_or(Seq::ZERO, |event| event.seq).get() as usize, self.jobs.len());
    }
}

#[tokio::test]
async fn schedules_outlive_crashes_and_fire_once() {
    let (mut fires, mut round) = (0, 0);
    // A life may be paused or suspended for long: as many are tried as it takes for enough fires.
    while round < ROUNDS || fires <= 5 * ROUNDS {
        assert!(round < 20 * ROUNDS, "{fires} fires: hardly anything was tried");
        round += 1;
        let seed: u64 = rand::rng().random();
        println!("round {round}: seed {seed}");
        let mut trial = Trial::new(seed).await;
        for step in 0..STEPS {
            trial = trial.step().await;
            if step % 10 == 9 {
                trial.check().await;
            }
        }
        fires += trial.jobs.len();
    }
}
