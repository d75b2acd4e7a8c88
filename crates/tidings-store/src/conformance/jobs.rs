use std::time::Duration;

use tidings_core::{
    Category, Failure, Job, JobId, JobState, NewJob, RawJson, Seq, Subject, UniqueKey, UserId,
    job::{Backoff, FailOptions, Progress, Refused, StateName},
};

use super::world::{LEASE, World, job_id, of_type, tenant_id, work};
use crate::{Command, CommandError, Enqueued, Idempotency, JobQuery, Maintain, Operation, Outcome, Swept};

const LOST: Result<(), CommandError> = Err(CommandError::Refused(Refused::LeaseLost));

fn told(result: Result<Job, CommandError>) -> Result<(), CommandError> {
    result.map(|_| ())
}

/// What the store answers is what it stores.
async fn stored(world: &World, answered: &Job) {
    assert_eq!(world.job("acme", answered.id).await, *answered);
}

pub(super) async fn a_job_reads_back_in_every_state(world: World) {
    let mut new = work();
    new.spec.owner = Some(UserId::new("ana").expect("valid"));
    new.spec.subject = Some(Subject::new("note/42").expect("valid"));
    new.spec.unique_key = Some(UniqueKey::new("once").expect("valid"));
    new.spec.priority = -7;
    new.spec.max_attempts = 3;
    new.spec.backoff = Backoff { base: Duration::from_millis(1), max: Duration::from_secs(9) };
    let (spec, id) = (new.spec.clone(), new.id);
    let enqueued = world.enqueue_all("acme", vec![new]).await.remove(0);
    let queued = world.job("acme", id).await;
    assert_eq!(queued.spec, spec);
    assert!(enqueued.created && enqueued.id == id && enqueued.job == queued.to_json(false));

    let leased = world.lease("acme").await;
    stored(&world, &leased).await;
    let progress = Progress { percent: 40, message: Some("page 4".into()) };
    let moved = world.job_after("acme", Operation::Progress { job: id, lease_no: 1, progress }).await;
    stored(&world, &moved.expect("held")).await;
    stored(&world, &world.fail("acme", id, 1).await.expect("held")).await;
    world.clock.advance(Duration::from_secs(5));
    let again = world.lease("acme").await;
    assert_eq!((again.lease_no, again.attempt, again.progress.as_ref()), (2, 2, None));
    stored(&world, &again).await;
    let result = Some(RawJson::parse(r#"{"y":0.10}"#).expect("valid"));
    let done = Operation::Complete { job: id, lease_no: 2, result, pending: None };
    stored(&world, &world.job_after("acme", done).await.expect("held")).await;
    let story = ["job.queued", "job.started", "job.progress", "job.retrying", "job.started", "job.completed"];
    assert_eq!(world.story("acme", id).await, story);
    assert_eq!(world.job("acme", id).await.seq, Seq::new(6));
}

pub(super) async fn a_late_report_changes_nothing(world: World) {
    let id = world.enqueue("acme", work()).await;
    let lease_no = world.lease("acme").await.lease_no;
    world.clock.advance(LEASE);
    // Not rescued yet, but lost: the lease is over at its time and not when somebody looks.
    assert_eq!(told(world.complete("acme", id, lease_no).await), LOST);
    rescue(&world).await;
    let second = world.lease("acme").await;
    assert!(second.lease_no > lease_no);
    let before = world.log("acme").await.len();
    let progress = Progress { percent: 1, message: None };
    assert_eq!(told(world.complete("acme", id, lease_no).await), LOST);
    assert_eq!(told(world.fail("acme", id, lease_no).await), LOST);
    for operation in [
        Operation::Heartbeat { job: id, lease_no, length: LEASE },
        Operation::Progress { job: id, lease_no, progress },
        Operation::Release { job: id, lease_no },
    ] {
        assert_eq!(told(world.job_after("acme", operation).await), LOST);
    }
    assert_eq!((world.log("acme").await.len(), world.job("acme", id).await), (before, second));
}

pub(super) async fn repeating_a_report_returns_the_first_outcome(world: World) {
    let id = world.enqueue("acme", work()).await;
    world.lease("acme").await;
    let first = world.fail("acme", id, 1).await.expect("held");
    assert_eq!(world.fail("acme", id, 1).await.expect("a repeat"), first);
    assert_eq!(told(world.complete("acme", id, 1).await), LOST, "another report is no repeat");
    world.clock.advance(Duration::from_secs(5));
    world.lease("acme").await;
    let done = world.complete("acme", id, 2).await.expect("held");
    let pending = Some(Progress { percent: 99, message: None });
    let repeat = Operation::Complete { job: id, lease_no: 2, result: None, pending };
    assert_eq!(world.job_after("acme", repeat).await.expect("a repeat"), done);
    assert_eq!(world.log("acme").await.len(), 5);
}

pub(super) async fn pending_progress_goes_before_the_terminal_event(world: World) {
    let id = world.enqueue("acme", work()).await;
    world.lease("acme").await;
    let pending = Some(Progress { percent: 99, message: None });
    let done = Operation::Complete { job: id, lease_no: 1, result: None, pending: pending.clone() };
    let job = world.job_after("acme", done).await.expect("held");
    assert_eq!((job.progress.clone(), job.seq), (pending, Seq::new(4)));
    stored(&world, &job).await;
    assert_eq!(world.story("acme", id).await[2..], ["job.progress", "job.completed"]);
}

pub(super) async fn a_failure_is_retried_after_its_delay_until_attempts_end(world: World) {
    let mut new = work();
    new.spec.max_attempts = 2;
    let id = world.enqueue("acme", new).await;
    world.lease("acme").await;
    let job = world.fail("acme", id, 1).await.expect("held");
    assert_eq!(job.state.name(), StateName::Scheduled);
    world.clock.advance(Duration::from_secs(4));
    assert!(world.claim(super::world::one("acme"), &["work"], 1).await.leases.is_empty());
    world.clock.advance(Duration::from_secs(1));
    world.lease("acme").await;
    assert_eq!(world.fail("acme", id, 2).await.expect("held").state.name(), StateName::Failed);
    assert_eq!(world.story("acme", id).await.last().map(String::as_str), Some("job.failed"));

    let final_one = world.enqueue("acme", work()).await;
    let leased = world.lease("acme").await;
    let failure = Failure::new(Category::Validation, "no such page");
    let options = FailOptions { failure, retryable: false, retry_in: None };
    let fail = Operation::Fail { job: final_one, lease_no: leased.lease_no, options, pending: None };
    assert_eq!(world.job_after("acme", fail).await.expect("held").state.name(), StateName::Failed);
}

async fn rescue(world: &World) -> Swept {
    match world.run(Command::Maintain(Maintain::Rescue { limit: 2 })).await {
        Ok(Outcome::Swept(swept)) => swept,
        other => panic!("rescuing answered {other:?}"),
    }
}

pub(super) async fn an_expired_lease_is_rescued(world: World) {
    for _ in 0..3 {
        world.enqueue("acme", work()).await;
    }
    let leases = world.claim(super::world::one("acme"), &["work"], 3).await.leases;
    world.clock.advance(LEASE.saturating_sub(Duration::from_micros(1)));
    assert_eq!(rescue(&world).await, Swept { rows: 0, more: false, ..Swept::default() });
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(rescue(&world).await, Swept { rows: 2, more: true, ..Swept::default() });
    assert_eq!(rescue(&world).await, Swept { rows: 1, more: false, ..Swept::default() });
    for lease in leases {
        let job = world.job("acme", lease.job.id).await;
        assert_eq!((job.state.name(), job.attempt), (StateName::Scheduled, 1));
        assert_eq!(world.story("acme", job.id).await.last().map(String::as_str), Some("job.retrying"));
    }
    assert_eq!(world.claim(super::world::one("acme"), &["work"], 9).await.leases.len(), 3);
}

pub(super) async fn a_heartbeat_keeps_a_lease_and_tells_of_cancellation(world: World) {
    let id = world.enqueue("acme", work()).await;
    world.lease("acme").await;
    for _ in 0..3 {
        world.clock.advance(LEASE.saturating_sub(Duration::from_secs(1)));
        let beat = Operation::Heartbeat { job: id, lease_no: 1, length: LEASE };
        let job = world.job_after("acme", beat).await.expect("held");
        assert!(matches!(job.state, JobState::Running { cancel_requested: false, .. }));
        assert_eq!(rescue(&world).await.rows, 0);
    }
    world.job_after("acme", Operation::Cancel { job: id }).await.expect("asked");
    let beat = Operation::Heartbeat { job: id, lease_no: 1, length: LEASE };
    let job = world.job_after("acme", beat).await.expect("held");
    assert!(matches!(job.state, JobState::Running { cancel_requested: true, .. }));
    stored(&world, &job).await;
    assert_eq!(world.story("acme", id).await, ["job.queued", "job.started"], "heartbeats make no events");
}

pub(super) async fn a_release_spends_no_attempt(world: World) {
    let id = world.enqueue("acme", work()).await;
    world.lease("acme").await;
    let job = world.job_after("acme", Operation::Release { job: id, lease_no: 1 }).await.expect("held");
    assert_eq!((job.attempt, job.state.name()), (0, StateName::Scheduled));
    let again = world.lease("acme").await;
    assert_eq!((again.attempt, again.lease_no), (1, 2));
}

pub(super) async fn cancelling_ends_a_waiting_job_and_asks_a_running_one(world: World) {
    let waiting = world.enqueue("acme", work()).await;
    let job = world.job_after("acme", Operation::Cancel { job: waiting }).await.expect("cancelled");
    assert_eq!(job.state.name(), StateName::Cancelled);
    let again = world.job_after("acme", Operation::Cancel { job: waiting }).await;
    assert_eq!(told(again), Err(CommandError::Refused(Refused::Finished)));

    let completed = world.enqueue("acme", work()).await;
    world.lease("acme").await;
    world.job_after("acme", Operation::Cancel { job: completed }).await.expect("asked");
    let job = world.complete("acme", completed, 1).await.expect("complete wins");
    assert_eq!(job.state.name(), StateName::Completed);

    let lost = world.enqueue("acme", work()).await;
    world.lease("acme").await;
    world.job_after("acme", Operation::Cancel { job: lost }).await.expect("asked");
    world.clock.advance(LEASE);
    rescue(&world).await;
    assert_eq!(world.job("acme", lost).await.state.name(), StateName::Cancelled);
    assert_eq!(world.story("acme", lost).await.last().map(String::as_str), Some("job.cancelled"));
}

async fn retry(world: &World, job: JobId, id: JobId) -> Result<Enqueued, CommandError> {
    match world.operate("acme", Operation::Retry { job, id, idempotency: None }).await? {
        Outcome::Enqueued(mut enqueued) => Ok(enqueued.remove(0)),
        other => panic!("answered {other:?}"),
    }
}

pub(super) async fn a_retry_is_a_new_job(world: World) {
    let id = world.enqueue("acme", unique("once")).await;
    let refused = retry(&world, id, job_id()).await;
    assert_eq!(refused, Err(CommandError::Refused(Refused::NotFinished)));
    assert_eq!(retry(&world, job_id(), job_id()).await, Err(CommandError::NotFound));
    world.job_after("acme", Operation::Cancel { job: id }).await.expect("cancelled");
    let new = job_id();
    let first = retry(&world, id, new).await.expect("finished");
    assert!(first.created && first.id == new);
    let job = world.job("acme", new).await;
    assert_eq!((job.spec.retry_of, job.state.name()), (Some(id), StateName::Queued));
    let held = retry(&world, id, job_id()).await.expect("answered");
    assert_eq!((held.created, held.id), (false, new), "the live job holds the unique key");
    assert_eq!(world.job("acme", id).await.state.name(), StateName::Cancelled, "terminal is terminal");
}

fn unique(key: &str) -> NewJob {
    let mut new = work();
    new.spec.unique_key = Some(UniqueKey::new(key).expect("valid"));
    new
}

pub(super) async fn a_unique_key_holds_until_its_job_is_terminal(world: World) {
    let twice = world.enqueue_all("acme", vec![unique("k"), unique("k"), unique("l")]).await;
    assert_eq!(twice.iter().map(|e| e.created).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(twice[0].id, twice[1].id);
    let leased = world.lease("acme").await;
    let again = world.enqueue_all("acme", vec![unique("k")]).await;
    assert_eq!((again[0].created, again[0].id), (false, twice[0].id));
    assert_eq!(again[0].job, leased.to_json(false), "the live job as it is now");
    assert!(world.enqueue_all("other", vec![unique("k")]).await[0].created);
    let mut other_type = unique("k");
    other_type.spec.job_type = super::world::job_type("other");
    assert!(world.enqueue_all("acme", vec![other_type]).await[0].created);
    world.complete("acme", leased.id, leased.lease_no).await.expect("held");
    assert!(world.enqueue_all("acme", vec![unique("k")]).await[0].created);
}

pub(super) async fn a_repeated_enqueue_answers_the_first_jobs(world: World) {
    let enqueue = |body| Operation::Enqueue {
        jobs: vec![work(), work()],
        idempotency: Some(Idempotency { route: "/jobs".into(), key: "k".into(), body_hash: [body; 32] }),
    };
    let Ok(Outcome::Enqueued(first)) = world.operate("acme", enqueue(1)).await else { panic!("enqueued") };
    world.lease("acme").await;
    let Ok(Outcome::Enqueued(again)) = world.operate("acme", enqueue(1)).await else { panic!("repeated") };
    assert!(first.iter().all(|e| e.created) && again.iter().all(|e| !e.created));
    for (first, again) in first.iter().zip(&again) {
        assert_eq!((first.id, &first.job), (again.id, &again.job), "as it was at the commit");
    }
    let other = world.operate("acme", enqueue(2)).await;
    assert!(matches!(other, Err(CommandError::IdempotencyMismatch)));
    assert_eq!(world.log("acme").await.len(), 3);
}

pub(super) async fn lists_are_newest_first_and_filtered(world: World) {
    let mut ids = Vec::new();
    for n in 0..10_u8 {
        let mut new = if n % 2 == 0 { work() } else { of_type("other") };
        new.id = JobId::from_bytes([n + 1; 16]);
        new.spec.owner = (n < 5).then(|| UserId::new("ana").expect("valid"));
        new.spec.subject = (n == 3).then(|| Subject::new("note/3").expect("valid"));
        ids.push(world.enqueue("acme", new).await);
    }
    world.job_after("acme", Operation::Cancel { job: ids[0] }).await.expect("cancelled");
    let list = |query: JobQuery| {
        let world = world.clone();
        async move {
            let page = world.store.jobs(&tenant_id("acme"), &query).await.expect("reads");
            (page.jobs.iter().map(|j| j.id.as_bytes()[0] - 1).collect::<Vec<_>>(), page.next)
        }
    };
    let all = JobQuery { limit: 100, ..JobQuery::default() };
    assert_eq!(list(all.clone()).await, ((0..10).rev().collect(), None));
    let (first, next) = list(JobQuery { limit: 4, ..all.clone() }).await;
    assert_eq!(first, [9, 8, 7, 6]);
    let rest = list(JobQuery { before: next, ..all.clone() }).await;
    assert_eq!(rest, (vec![5, 4, 3, 2, 1, 0], None));
    assert_eq!(list(JobQuery { limit: 10, ..all.clone() }).await.1, None, "exactly full is the last page");
    let of_other = JobQuery { job_type: Some(super::world::job_type("other")), ..all.clone() };
    assert_eq!(list(of_other).await.0, [9, 7, 5, 3, 1]);
    let anas = JobQuery { owner: Some(UserId::new("ana").expect("valid")), ..all.clone() };
    assert_eq!(list(anas.clone()).await.0, [4, 3, 2, 1, 0]);
    assert_eq!(list(JobQuery { state: Some(StateName::Cancelled), ..anas }).await.0, [0]);
    let of_note = JobQuery { subject: Some(Subject::new("note/3").expect("valid")), ..all };
    assert_eq!(list(of_note).await.0, [3]);
}

pub(super) async fn queues_are_counted(world: World) {
    assert!(world.store.queues(&tenant_id("acme")).await.expect("reads").is_empty());
    let start = world.job("acme", world.enqueue("acme", work()).await).await.created_at;
    world.clock.advance(Duration::from_secs(1));
    for _ in 0..3 {
        world.enqueue("acme", work()).await;
        world.enqueue("other", work()).await;
    }
    let mut later = of_type("export");
    later.run_at = Some(start + Duration::from_hours(1));
    world.enqueue("acme", later).await;
    let done = world.lease("acme").await;
    world.complete("acme", done.id, 1).await.expect("held");
    world.lease("acme").await;
    let queues = world.store.queues(&tenant_id("acme")).await.expect("reads");
    let counts: Vec<_> = queues
        .iter()
        .map(|q| (q.job_type.as_str(), q.scheduled, q.queued, q.running, q.finished_last_minute))
        .collect();
    assert_eq!(counts, [("export", 1, 0, 0, 0), ("work", 0, 2, 1, 1)]);
    assert_eq!(queues[1].oldest_due, Some(start + Duration::from_secs(1)));
    world.clock.advance(Duration::from_secs(61));
    let queues = world.store.queues(&tenant_id("acme")).await.expect("reads");
    assert_eq!(queues[1].finished_last_minute, 0);
}
