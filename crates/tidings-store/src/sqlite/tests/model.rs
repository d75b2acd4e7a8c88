//! The job state machine on disk against the one in memory: random calls, late reports, retries,
//! expiries, clocks set back and crashes. After each call the store has exactly the jobs that
//! `tidings_core::Job` alone makes of the same calls, and at the end exactly its events.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tidings_core::{
    Category, Clock as _, Entropy, Event, Failure, Job, JobId, JobState, NewEvent, NewJob, RawJson, Seq,
    Timestamp, UniqueKey, WorkerName,
    job::{FailOptions, Moment, Progress, Refused, Step},
};

use super::{
    super::{SqliteConfig, SqliteStore},
    TempDir,
};
use crate::{
    Claim, Command, CommandError, Maintain, OpenError, Operation, Outcome,
    conformance::{LEASE, ManualClock, World, job_id, one, tenant_id, work},
};

const TENANT: &str = "acme";
const STEPS: usize = 150;
const ROUNDS: usize = 25;

/// The same bytes for both machines, so that ids and delays agree.
struct Constant;

impl Entropy for Constant {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0x5A);
    }
}

/// Every job and event there should be.
#[derive(Default)]
struct Model {
    jobs: Vec<Job>,
    events: Vec<(Timestamp, NewEvent)>,
}

impl Model {
    fn tell(&mut self, mut step: Step, now: Timestamp) -> Job {
        for fact in step.events {
            let time = self.events.last().map_or(now, |(last, _)| now.max(*last));
            self.events.push((time, fact));
            step.job.seq = Seq::new(self.events.len() as u64);
        }
        step.job
    }

    fn change(
        &mut self,
        id: JobId,
        now: Timestamp,
        change: impl FnOnce(Job, Moment<'_>) -> Result<Step, Refused>,
    ) -> Result<Job, CommandError> {
        let at = Moment { now, entropy: &Constant };
        let found = self.jobs.iter().position(|job| job.id == id).ok_or(CommandError::NotFound)?;
        let step = change(self.jobs[found].clone(), at)?;
        let job = self.tell(step, now);
        self.jobs[found] = job.clone();
        Ok(job)
    }

    fn enqueue(&mut self, new: NewJob, now: Timestamp) -> JobId {
        let held = self.jobs.iter().find(|job| {
            new.spec.unique_key.is_some()
                && job.spec.unique_key == new.spec.unique_key
                && !job.state.is_terminal()
        });
        if let Some(held) = held {
            return held.id;
        }
        let step = Job::enqueue(tenant_id(TENANT), new, Moment { now, entropy: &Constant });
        let job = self.tell(step, now);
        self.jobs.push(job);
        self.jobs[self.jobs.len() - 1].id
    }

    /// What a claim does before it looks.
    fn promote(&mut self, now: Timestamp) {
        for job in &mut self.jobs {
            if let JobState::Scheduled { run_at } = job.state
                && run_at <= now
            {
                job.state = JobState::Queued { run_at };
            }
        }
    }
}

struct Trial {
    dir: TempDir,
    clock: Arc<ManualClock>,
    world: World,
    model: Model,
    random: StdRng,
}

fn open(dir: &TempDir, clock: &Arc<ManualClock>) -> World {
    let try_open =
        || SqliteStore::open(SqliteConfig::new(dir.path()), Arc::clone(clock) as _, Arc::new(Constant));
    // A program that another test starts has the lock of the last store for as long as it has not become that program.
    let deadline = Instant::now() + Duration::from_secs(10);
    let store = loop {
        match try_open() {
            Err(OpenError::Locked(_)) if Instant::now() < deadline => std::thread::yield_now(),
            opened => break opened.expect("opens"),
        }
    };
    World { store: Arc::new(store), clock: Arc::clone(clock) }
}

impl Trial {
    fn new(seed: u64) -> Self {
        let (dir, clock) = (TempDir::new(), Arc::<ManualClock>::default());
        let world = open(&dir, &clock);
        Self { dir, clock, world, model: Model::default(), random: StdRng::seed_from_u64(seed) }
    }

    async fn step(mut self) -> Self {
        let now = self.clock.now();
        match self.random.random_range(0..20) {
            0..3 => self.enqueue(now).await,
            3..7 => self.claim(now).await,
            7..15 => self.one_job(now).await,
            15 => self.retry(now).await,
            16 => self.rescue(now).await,
            17 | 18 => self.advance().await,
            _ => self = self.crash().await,
        }
        self
    }

    async fn enqueue(&mut self, now: Timestamp) {
        let mut new = work();
        new.spec.priority = self.random.random_range(-1..=1);
        new.spec.max_attempts = self.random.random_range(1..=3);
        new.spec.unique_key = self.random.random_bool(0.3).then(|| UniqueKey::new("k").expect("valid"));
        new.run_at = self.random.random_bool(0.3).then(|| now + Duration::from_secs(20));
        let id = self.model.enqueue(new.clone(), now);
        assert_eq!(self.world.enqueue(TENANT, new).await, id);
    }

    async fn claim(&mut self, now: Timestamp) {
        let worker = WorkerName::new("w1").expect("valid");
        let max = self.random.random_range(1..=3);
        let claim = Claim {
            tenants: one(TENANT),
            worker: worker.clone(),
            types: vec![work().spec.job_type],
            max,
            length: LEASE,
        };
        let Ok(Outcome::Claimed(claimed)) = self.world.run(Command::Claim(claim)).await else {
            panic!("claims")
        };
        self.model.promote(now);
        let ready = self.model.jobs.iter().filter(|job| matches!(job.state, JobState::Queued { .. })).count();
        assert_eq!(claimed.leases.len(), ready.min(max), "all that is due, up to as many as asked for");
        for lease in claimed.leases {
            let expected =
                self.model.change(lease.job.id, now, |job, at| job.lease(worker.clone(), LEASE, at));
            assert_eq!(expected, Ok(lease.job));
        }
    }

    /// A report or a cancellation, under the right lease or another.
    async fn one_job(&mut self, now: Timestamp) {
        let Some(job) = self.model.jobs.choose(&mut self.random) else { return };
        let (id, current) = (job.id, job.lease_no);
        let lease_no = [current, current, current, current.saturating_sub(1), current + 1]
            [self.random.random_range(0..5)];
        let pending =
            self.random.random_bool(0.3).then(|| Progress { percent: 7, message: Some("m".into()) });
        let failure = Failure::new(Category::Inference, "no");
        let retryable = self.random.random_bool(0.8);
        let options = FailOptions { failure, retryable, retry_in: None };
        let result = Some(RawJson::from_value(&self.random.random::<u8>()));
        let progress = Progress { percent: self.random.random_range(0..=100), message: None };
        let which = self.random.random_range(0..8);
        let operation = match which {
            0 => Operation::Heartbeat { job: id, lease_no, length: LEASE },
            1 | 2 => Operation::Progress { job: id, lease_no, progress: progress.clone() },
            3 => Operation::Complete { job: id, lease_no, result: result.clone(), pending: pending.clone() },
            4 | 5 => {
                Operation::Fail { job: id, lease_no, options: options.clone(), pending: pending.clone() }
            }
            6 => Operation::Release { job: id, lease_no },
            _ => Operation::Cancel { job: id },
        };
        let answer = self.world.job_after(TENANT, operation).await;
        // Pending progress is a step of its own that only counts where the report does.
        let after_pending = |job: Job, at: Moment<'_>, end: &dyn Fn(Job) -> Result<Step, Refused>| {
            let whole = end(job.clone())?;
            match &pending {
                Some(pending) if !whole.events.is_empty() => {
                    let first = job.progress(lease_no, pending.clone(), at)?;
                    let mut step = end(first.job)?;
                    step.events.splice(0..0, first.events);
                    Ok(step)
                }
                _ => Ok(whole),
            }
        };
        let expected = self.model.change(id, now, |job, at| match which {
            0 => job.heartbeat(lease_no, LEASE, at),
            1 | 2 => job.progress(lease_no, progress.clone(), at),
            3 => after_pending(job, at, &|job| job.complete(lease_no, result.clone(), at)),
            4 | 5 => after_pending(job, at, &|job| job.fail(lease_no, options.clone(), at)),
            6 => job.release(lease_no, at),
            _ => job.cancel(at),
        });
        assert_eq!(answer, expected);
    }

    async fn retry(&mut self, now: Timestamp) {
        let Some(job) = self.model.jobs.choose(&mut self.random).cloned() else { return };
        let id = job_id();
        let answer =
            self.world.operate(TENANT, Operation::Retry { job: job.id, id, idempotency: None }).await;
        match (job.retry(id), answer) {
            (Ok(new), Ok(Outcome::Enqueued(enqueued))) => {
                assert_eq!(self.model.enqueue(new, now), enqueued[0].id);
            }
            (Err(refused), answer) => {
                assert!(matches!(answer, Err(CommandError::Refused(r)) if r == refused));
            }
            (Ok(_), answer) => panic!("a retry was answered {answer:?}"),
        }
    }

    async fn rescue(&mut self, now: Timestamp) {
        let mut expired: Vec<(Timestamp, JobId)> = self
            .model
            .jobs
            .iter()
            .filter_map(|job| match &job.state {
                JobState::Running { lease, .. } if lease.expires_at <= now => {
                    Some((lease.expires_at, job.id))
                }
                _ => None,
            })
            .collect();
        let committed = self.world.commit(vec![Command::Maintain(Maintain::Rescue { limit: 1_000 })]).await;
        assert!(matches!(&committed.outcomes[0], Ok(Outcome::Swept(swept)) if swept.rows == expired.len()));
        // Which of two that expired at one moment comes first is the store's to say.
        let place = |id: JobId| {
            committed.events.iter().position(|e| e.fact.job.as_ref().is_some_and(|job| job.id == id))
        };
        expired.sort_by_key(|(_, id)| place(*id));
        assert!(expired.is_sorted_by_key(|(at, _)| *at));
        for (_, id) in expired {
            self.model.change(id, now, Job::expire).expect("it has expired");
        }
    }

    async fn advance(&mut self) {
        let by = Duration::from_millis(self.random.random_range(0..25_000));
        if self.random.random_bool(0.1) {
            self.clock.set(self.clock.now() - by);
            // A commit notes that the clock was set back, as the idle writer does within a second.
            self.world.operate(TENANT, Operation::Ensure).await.expect("the tenant is there");
        } else {
            self.clock.advance(by);
        }
    }

    /// Dropping the store leaves what a killed process would.
    async fn crash(self) -> Self {
        let Self { dir, clock, world, mut model, mut random } = self;
        drop(world);
        let outage = Duration::from_millis(random.random_range(0..40_000));
        clock.advance(outage);
        let world = open(&dir, &clock);
        for job in &mut model.jobs {
            if let JobState::Running { lease, .. } = &mut job.state {
                let JobState::Running { lease: kept, .. } = world.job(TENANT, job.id).await.state else {
                    panic!("a crash ended a lease")
                };
                assert!(kept.expires_at >= lease.expires_at + outage, "a lease gets the outage back");
                *lease = kept;
            }
        }
        Self { dir, clock, world, model, random }
    }

    async fn check_jobs(&self) {
        for job in &self.model.jobs {
            assert_eq!(self.world.job(TENANT, job.id).await, *job);
        }
    }

    async fn check_log(&self) {
        let expected: Vec<Event> = self
            .model
            .events
            .iter()
            .enumerate()
            .map(|(n, (time, fact))| Event {
                seq: Seq::new(n as u64 + 1),
                time: *time,
                tenant: tenant_id(TENANT),
                fact: fact.clone(),
            })
            .collect();
        assert_eq!(self.world.log(TENANT).await, expected);
        for job in &self.model.jobs {
            let story = self.world.story(TENANT, job.id).await;
            let terminal = ["job.completed", "job.failed", "job.cancelled"];
            let ends: Vec<_> =
                story.iter().enumerate().filter(|(_, t)| terminal.contains(&t.as_str())).collect();
            assert_eq!(ends.len(), usize::from(job.state.is_terminal()), "{story:?}");
            assert!(ends.iter().all(|(at, _)| at + 1 == story.len()), "nothing follows the end: {story:?}");
            let leases = story.iter().filter(|t| *t == "job.started").count();
            assert_eq!(leases as u64, job.lease_no, "each lease has a number of its own");
        }
    }
}

#[tokio::test]
async fn the_store_and_the_state_machine_agree() {
    for round in 0..ROUNDS {
        let seed: u64 = rand::rng().random();
        println!("round {round}: seed {seed}");
        let mut trial = Trial::new(seed);
        let made = NewJob { id: job_id(), ..work() };
        trial.model.enqueue(made.clone(), trial.clock.now());
        trial.world.enqueue(TENANT, made).await;
        for step in 0..STEPS {
            trial = trial.step().await;
            if step % 10 == 0 {
                trial.check_jobs().await;
            }
        }
        trial.check_jobs().await;
        trial.check_log().await;
        drop(trial.world.store);
    }
}
