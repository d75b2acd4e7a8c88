use std::time::Duration;

use tidings_core::{
    Clock as _, Job, JobId, Schedule, ScheduleId, ScheduleName, ScheduleSpec, Subject, SystemEntropy,
    Timestamp, UserId,
    job::{Backoff, StateName},
    schedule::{Overlap, Timing},
};

use super::world::{World, of_type, one, tenant_id};
use crate::{Command, CommandError, Maintain, Operation, Outcome, SCHEDULES_MAX, Swept, TenantState};

const MINUTE: Duration = Duration::from_mins(1);

fn name(text: &str) -> ScheduleName {
    ScheduleName::new(text).expect("valid")
}

/// A schedule of jobs of the type `work`.
pub(super) fn spec(text: &str, cron: &str) -> ScheduleSpec {
    ScheduleSpec {
        name: name(text),
        timing: Timing { cron: cron.parse().expect("valid"), zone: "UTC".parse().expect("known") },
        overlap: Overlap::Allow,
        job: of_type("work").spec,
    }
}

fn new_id() -> ScheduleId {
    ScheduleId::generate(Timestamp::from_secs(1_800_000_000), &SystemEntropy)
}

fn put_as(id: ScheduleId, spec: ScheduleSpec, replaces: Option<ScheduleId>) -> Operation {
    Operation::PutSchedule { id, spec: Box::new(spec), replaces }
}

async fn change(world: &World, tenant: &str, operation: Operation) -> Result<Schedule, CommandError> {
    match world.operate(tenant, operation).await? {
        Outcome::Schedule(schedule) => Ok(*schedule),
        other => panic!("answered {other:?}"),
    }
}

pub(super) async fn put(world: &World, tenant: &str, spec: ScheduleSpec) -> Schedule {
    change(world, tenant, put_as(new_id(), spec, None)).await.expect("it is new")
}

async fn read(world: &World, tenant: &str, text: &str) -> Option<Schedule> {
    world.store.schedule(&tenant_id(tenant), &name(text)).await.expect("reads")
}

async fn names(world: &World, tenant: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let after = after.map(name);
    let page = world.store.schedules(&tenant_id(tenant), after.as_ref(), limit).await.expect("reads");
    page.iter().map(|schedule| schedule.spec.name.to_string()).collect()
}

pub(super) async fn fire(world: &World, limit: usize) -> Swept {
    match world.run(Command::Maintain(Maintain::Fire { limit })).await {
        Ok(Outcome::Swept(swept)) => swept,
        other => panic!("firing answered {other:?}"),
    }
}

async fn jobs(world: &World, tenant: &str) -> Vec<Job> {
    let query = crate::JobQuery { limit: 1_000, ..crate::JobQuery::default() };
    world.store.jobs(&tenant_id(tenant), &query).await.expect("reads").jobs
}

pub(super) async fn a_schedule_reads_back(world: World) {
    let mut full = spec("reports.nightly-eu", "30 2 * * MON-FRI");
    full.timing.zone = "Europe/Berlin".parse().expect("known");
    full.overlap = Overlap::Skip;
    full.job.owner = Some(UserId::new("ana").expect("valid"));
    full.job.subject = Some(Subject::new("report/eu").expect("valid"));
    full.job.priority = -7;
    full.job.max_attempts = 3;
    full.job.backoff = Backoff { base: Duration::from_millis(1), max: Duration::from_secs(9) };
    let made = put(&world, "acme", full.clone()).await;
    assert_eq!((&made.spec, made.paused, made.created_at), (&full, false, world.clock.now()));
    // 08:00 UTC on a Friday, so that Monday's is next.
    assert_eq!(made.next_fire, Some(Timestamp::parse("2027-01-18T01:30:00Z").expect("a time")));
    assert_eq!(read(&world, "acme", "reports.nightly-eu").await, Some(made.clone()));
    let paused = change(&world, "acme", Operation::PauseSchedule(made.id)).await.expect("is there");
    assert_eq!((paused.paused, paused.next_fire), (true, None));
    assert_eq!(read(&world, "acme", "reports.nightly-eu").await, Some(paused));
    let resumed = change(&world, "acme", Operation::ResumeSchedule(made.id)).await.expect("is there");
    assert_eq!(resumed, made);
    assert_eq!(
        world.store.next_fire_in().await.expect("reads"),
        Some(made.next_fire.expect("one").since(world.clock.now()))
    );
    world.operate("acme", Operation::DeleteSchedule(made.id)).await.expect("is there");
    assert_eq!(read(&world, "acme", "reports.nightly-eu").await, None);
    assert_eq!(world.store.next_fire_in().await.expect("reads"), None);
    for operation in [
        Operation::DeleteSchedule(made.id),
        Operation::PauseSchedule(made.id),
        Operation::ResumeSchedule(made.id),
        put_as(new_id(), full, Some(made.id)),
    ] {
        let answer = world.operate("acme", operation).await;
        assert!(matches!(answer, Err(CommandError::NotFound)), "{answer:?}");
    }
}

pub(super) async fn a_name_belongs_to_one_schedule(world: World) {
    let first = put(&world, "acme", spec("nightly", "* * * * *")).await;
    let taken = change(&world, "acme", put_as(new_id(), spec("nightly", "@daily"), None)).await;
    assert_eq!(taken, Err(CommandError::NameTaken));
    assert_eq!(read(&world, "acme", "nightly").await, Some(first));
    put(&world, "other", spec("nightly", "@daily")).await;
}

pub(super) async fn a_replaced_schedule_goes_on(world: World) {
    let first = put(&world, "acme", spec("nightly", "* * * * *")).await;
    world.clock.advance(MINUTE);
    fire(&world, 10).await;
    let fired = read(&world, "acme", "nightly").await.expect("is there");
    let mut other = spec("nightly", "0 0 * * *");
    other.job = of_type("export").spec;
    let replaced =
        change(&world, "acme", put_as(new_id(), other.clone(), Some(first.id))).await.expect("is there");
    assert_eq!((replaced.id, replaced.created_at, &replaced.spec), (first.id, first.created_at, &other));
    assert_eq!(replaced.last_fire, fired.last_fire);
    assert!(replaced.next_fire > fired.next_fire);
    assert_eq!(read(&world, "acme", "nightly").await, Some(replaced));
}

pub(super) async fn a_fire_is_one_commit_and_happens_once(world: World) {
    let schedule = put(&world, "acme", spec("minutely", "* * * * *")).await;
    let due = schedule.next_fire.expect("one");
    assert_eq!(fire(&world, 10).await, Swept { rows: 0, more: false, ..Swept::default() });
    world.clock.set(due - Duration::from_micros(1));
    assert_eq!(fire(&world, 10).await.rows, 0, "not before its time");
    world.clock.set(due);
    assert_eq!(world.store.next_fire_in().await.expect("reads"), Some(Duration::ZERO));
    // Two that fire at once, as two leaders might.
    let both = vec![
        Command::Maintain(Maintain::Fire { limit: 10 }),
        Command::Maintain(Maintain::Fire { limit: 10 }),
    ];
    let committed = world.commit(both).await;
    assert_eq!(committed.events.len(), 1);
    assert_eq!(fire(&world, 10).await.rows, 0);
    let made = jobs(&world, "acme").await;
    assert_eq!(made.len(), 1);
    assert_eq!((made[0].id, made[0].state.name()), (JobId::of_fire(schedule.id, due), StateName::Queued));
    assert_eq!(made[0].spec, schedule.spec.job);
    assert_eq!(world.story("acme", made[0].id).await, ["job.queued"]);
    let after = read(&world, "acme", "minutely").await.expect("is there");
    assert_eq!((after.last_fire, after.next_fire), (Some((due, made[0].id)), Some(due + MINUTE)));
    assert_eq!(world.lease("acme").await.id, made[0].id);
}

pub(super) async fn missed_runs_collapse_into_one(world: World) {
    let schedule = put(&world, "acme", spec("minutely", "* * * * *")).await;
    let first = schedule.next_fire.expect("one");
    world.clock.set(first + MINUTE * 600 + Duration::from_secs(5));
    assert_eq!(fire(&world, 10).await.rows, 1);
    let made = jobs(&world, "acme").await;
    assert_eq!(made.len(), 1);
    let newest = first + MINUTE * 600;
    assert_eq!(made[0].id, JobId::of_fire(schedule.id, newest));
    let after = read(&world, "acme", "minutely").await.expect("is there");
    assert_eq!((after.last_fire, after.next_fire), (Some((newest, made[0].id)), Some(newest + MINUTE)));
}

pub(super) async fn a_fire_time_has_one_job_also_by_a_clock_that_was_set_back(world: World) {
    let schedule = put(&world, "acme", spec("minutely", "* * * * *")).await;
    let due = schedule.next_fire.expect("one");
    world.clock.set(due);
    fire(&world, 10).await;
    world.clock.set(due - MINUTE * 3);
    assert_eq!(fire(&world, 10).await.rows, 0);
    // Another timing is reckoned by the clock that is.
    let other = put_as(new_id(), spec("minutely", "*/1 * * * *"), Some(schedule.id));
    assert_eq!(change(&world, "acme", other).await.expect("is there").next_fire, Some(due - MINUTE * 2));
    for _ in 0..5 {
        world.clock.advance(MINUTE);
        fire(&world, 10).await;
    }
    let made: Vec<_> = jobs(&world, "acme").await.iter().map(|job| job.id).collect();
    let expected: Vec<_> = [2, 1, 0].map(|n| JobId::of_fire(schedule.id, due + MINUTE * n)).into();
    let before: Vec<_> = [1, 2].map(|n| JobId::of_fire(schedule.id, due - MINUTE * n)).into();
    assert_eq!(made, [expected, before].concat(), "one for each minute, newest first");
}

pub(super) async fn a_paused_schedule_does_not_fire(world: World) {
    let schedule = put(&world, "acme", spec("minutely", "* * * * *")).await;
    change(&world, "acme", Operation::PauseSchedule(schedule.id)).await.expect("is there");
    world.clock.advance(MINUTE * 10);
    assert_eq!(fire(&world, 10).await.rows, 0);
    assert_eq!(world.store.next_fire_in().await.expect("reads"), None);
    let resumed = change(&world, "acme", Operation::ResumeSchedule(schedule.id)).await.expect("is there");
    assert_eq!(resumed.next_fire, Some(world.clock.now() + MINUTE));
    assert_eq!(fire(&world, 10).await.rows, 0, "the pause is not caught up on");
    world.clock.advance(MINUTE);
    assert_eq!(fire(&world, 10).await.rows, 1);
}

pub(super) async fn a_suspended_tenants_schedules_wait(world: World) {
    for tenant in ["acme", "other"] {
        put(&world, tenant, spec("minutely", "* * * * *")).await;
    }
    put(&world, "acme", spec("paused", "* * * * *")).await;
    let paused = read(&world, "acme", "paused").await.expect("is there").id;
    change(&world, "acme", Operation::PauseSchedule(paused)).await.expect("is there");
    world.operate("acme", Operation::SetState(TenantState::Suspended)).await.expect("suspended");
    world.clock.advance(MINUTE * 10);
    assert_eq!(fire(&world, 10).await.rows, 1);
    assert_eq!(jobs(&world, "other").await.len(), 1);
    assert_eq!(jobs(&world, "acme").await.len(), 0);
    assert_eq!(world.store.next_fire_in().await.expect("reads"), Some(MINUTE), "the other's");
    let late = change(&world, "acme", put_as(new_id(), spec("late", "@daily"), None)).await;
    assert_eq!(late, Err(CommandError::TenantSuspended));
    world.operate("acme", Operation::SetState(TenantState::Active)).await.expect("active");
    assert_eq!(world.store.next_fire_in().await.expect("reads"), Some(Duration::ZERO));
    assert_eq!(fire(&world, 10).await.rows, 1);
    assert_eq!(jobs(&world, "acme").await.len(), 1, "what was missed is one run");
}

pub(super) async fn a_deleted_tenants_schedules_go(world: World) {
    let gone = put(&world, "acme", spec("minutely", "* * * * *")).await;
    world.operate("acme", Operation::Delete).await.expect("deleted");
    world.clock.advance(MINUTE * 2);
    assert_eq!(world.store.next_fire_in().await.expect("reads"), None);
    assert_eq!(fire(&world, 10).await.rows, 0);
    world.publish("acme", 1).await;
    assert_eq!(read(&world, "acme", "minutely").await, None);
    assert!(names(&world, "acme", None, 10).await.is_empty());
    let again = put(&world, "acme", spec("minutely", "* * * * *")).await;
    assert_ne!(again.id, gone.id);
    let sweep = Maintain::Retain { retention: crate::Retention::of_log(None, None), limit: 1_000 };
    world.run(Command::Maintain(sweep)).await.expect("swept");
    assert_eq!(names(&world, "acme", None, 10).await, ["minutely"], "the successor's stays");
    world.clock.advance(MINUTE);
    assert_eq!(fire(&world, 10).await.rows, 1);
}

pub(super) async fn a_run_that_would_overlap_is_skipped(world: World) {
    let mut skipping = spec("minutely", "* * * * *");
    skipping.overlap = Overlap::Skip;
    let schedule = put(&world, "acme", skipping).await;
    let due = schedule.next_fire.expect("one");
    world.clock.set(due);
    fire(&world, 10).await;
    let first = world.lease("acme").await;
    assert_eq!(first.spec.unique_key.as_ref().expect("one").as_str(), "schedule:minutely");
    world.clock.set(due + Duration::from_secs(20));
    let heartbeat = Operation::Heartbeat { job: first.id, lease_no: 1, length: Duration::from_mins(5) };
    world.job_after("acme", heartbeat).await.expect("held");
    world.clock.set(due + MINUTE);
    assert_eq!(fire(&world, 10).await.rows, 1);
    let after = read(&world, "acme", "minutely").await.expect("is there");
    assert_eq!((after.last_fire, after.last_skip), (Some((due, first.id)), Some(due + MINUTE)));
    assert_eq!(after.next_fire, Some(due + MINUTE * 2));
    assert_eq!(jobs(&world, "acme").await.len(), 1);
    world.complete("acme", first.id, 1).await.expect("held");
    world.clock.set(due + MINUTE * 2);
    fire(&world, 10).await;
    assert_eq!(jobs(&world, "acme").await.len(), 2);
    assert_eq!(read(&world, "acme", "minutely").await.expect("is there").last_skip, Some(due + MINUTE));
}

pub(super) async fn many_schedules_fire_in_pieces(world: World) {
    for tenant in ["a", "b", "c"] {
        for n in 0..3 {
            put(&world, tenant, spec(&format!("n{n}"), "* * * * *")).await;
        }
        put(&world, tenant, spec("later", "0 0 1 1 *")).await;
    }
    world.clock.advance(MINUTE);
    assert_eq!(fire(&world, 4).await, Swept { rows: 4, more: true, ..Swept::default() });
    assert_eq!(fire(&world, 4).await, Swept { rows: 4, more: true, ..Swept::default() });
    assert_eq!(fire(&world, 4).await, Swept { rows: 1, more: false, ..Swept::default() });
    for tenant in ["a", "b", "c"] {
        assert_eq!(jobs(&world, tenant).await.len(), 3);
        assert_eq!(world.log(tenant).await.len(), 3);
    }
    assert_eq!(world.claim(one("a"), &["work"], 10).await.leases.len(), 3);
}

pub(super) async fn schedules_are_listed_by_name(world: World) {
    for text in ["c", "a", "b.two", "b.one", "d"] {
        put(&world, "acme", spec(text, "@daily")).await;
    }
    put(&world, "other", spec("bb", "@daily")).await;
    assert_eq!(names(&world, "acme", None, 3).await, ["a", "b.one", "b.two"]);
    assert_eq!(names(&world, "acme", Some("b.two"), 3).await, ["c", "d"]);
    assert!(names(&world, "acme", Some("d"), 3).await.is_empty());
    assert!(names(&world, "nobody", None, 3).await.is_empty());
}

pub(super) async fn a_tenant_has_so_many_schedules(world: World) {
    for first in (0..SCHEDULES_MAX).step_by(250) {
        let commands = (first..first + 250)
            .map(|n| {
                super::world::in_tenant("acme", put_as(new_id(), spec(&format!("n{n}"), "@daily"), None))
            })
            .collect();
        assert!(world.commit(commands).await.outcomes.iter().all(Result::is_ok));
    }
    let beyond = change(&world, "acme", put_as(new_id(), spec("more", "@daily"), None)).await;
    assert_eq!(beyond, Err(CommandError::TooMany));
    let old = read(&world, "acme", "n0").await.expect("is there");
    change(&world, "acme", put_as(new_id(), spec("n0", "@hourly"), Some(old.id)))
        .await
        .expect("no more than before");
    put(&world, "other", spec("n0", "@daily")).await;
    world.operate("acme", Operation::DeleteSchedule(old.id)).await.expect("is there");
    put(&world, "acme", spec("more", "@daily")).await;
}

pub(super) async fn another_tenants_schedules_are_unknown(world: World) {
    let schedule = put(&world, "acme", spec("nightly", "@daily")).await;
    put(&world, "other", spec("mine", "@daily")).await;
    for operation in [
        Operation::PauseSchedule(schedule.id),
        Operation::ResumeSchedule(schedule.id),
        Operation::DeleteSchedule(schedule.id),
        put_as(new_id(), spec("nightly", "@hourly"), Some(schedule.id)),
    ] {
        let text = format!("{operation:?}");
        let answer = world.operate("other", operation).await;
        assert!(matches!(answer, Err(CommandError::NotFound)), "{text} answered {answer:?}");
    }
    assert_eq!(read(&world, "other", "nightly").await, None);
    assert_eq!(read(&world, "acme", "nightly").await, Some(schedule));
}
