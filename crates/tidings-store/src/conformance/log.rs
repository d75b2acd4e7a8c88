use std::{sync::Arc, time::Duration};

use tidings_core::{Epoch, Event, RawJson, Seq, Subject, TenantId, Timestamp, UserId, Verbosity};

use super::world::{PAGE, World, event, in_tenant, of_type, tenant_id, work};
use crate::{
    CommandError, CommitSink, Idempotency, Journal, JournalConfig, Operation, Outcome, PageLimit, Published,
};

pub(super) async fn a_new_log_is_empty(world: World) {
    world.operate("acme", Operation::Ensure).await.expect("made");
    let log = world.store.log_state(&tenant_id("acme")).await.expect("reads").expect("exists");
    assert_eq!((log.head, log.oldest), (Seq::ZERO, Seq::new(1)));
    let page = world.store.events(&tenant_id("acme"), Seq::ZERO, PAGE).await.expect("reads").expect("exists");
    assert_eq!((page.events.len(), page.scanned_to, page.log), (0, Seq::ZERO, log));
    assert!(world.store.log_state(&tenant_id("other")).await.expect("reads").is_none());
}

pub(super) async fn seqs_have_no_gaps_and_follow_commit_order(world: World) {
    let commands = ["a", "b", "a", "a", "b"].map(|tenant| {
        in_tenant(tenant, Operation::Publish { events: vec![event("1"), event("2")], idempotency: None })
    });
    let committed = world.commit(commands.into()).await;
    let mut seqs = Vec::new();
    for outcome in committed.outcomes {
        let Ok(Outcome::Published(published)) = outcome else { panic!("published") };
        seqs.push(published.iter().map(|p| p.seq.get()).collect::<Vec<_>>());
    }
    assert_eq!(seqs, [[1, 2], [1, 2], [3, 4], [5, 6], [3, 4]]);
    let mut tenants: Vec<_> = committed.epochs.iter().map(|(tenant, _)| tenant.as_str()).collect();
    tenants.sort_unstable();
    assert_eq!(tenants, ["a", "b"], "each history is named once");
    for (tenant, head) in [("a", 6), ("b", 4)] {
        let log = world.store.log_state(&tenant_id(tenant)).await.expect("reads").expect("exists");
        assert!(committed.epochs.contains(&(tenant_id(tenant), log.epoch)));
        let stored = world.log(tenant).await;
        assert_eq!(stored.iter().map(|e| e.seq.get()).collect::<Vec<_>>(), (1..=head).collect::<Vec<_>>());
        let told: Vec<Event> =
            committed.events.iter().filter(|e| e.tenant.as_str() == tenant).map(|e| (**e).clone()).collect();
        assert_eq!(stored, told, "the committed events are the stored ones, in order");
    }
}

struct Ignore;

impl CommitSink for Ignore {
    fn committed(&self, _: &[Arc<Event>], _: &[(TenantId, Epoch)]) {}
}

pub(super) async fn concurrent_submitters_leave_no_gap(world: World) {
    const SUBMITTERS: usize = 16;
    const EACH: usize = 25;
    let journal = Journal::start(Arc::clone(&world.store), Arc::new(Ignore), JournalConfig::default());
    let tasks: Vec<_> = (0..SUBMITTERS)
        .map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut last = 0;
                for _ in 0..EACH {
                    let publish =
                        Operation::Publish { events: vec![event("1"), event("2")], idempotency: None };
                    let outcome = journal.submit(in_tenant("acme", publish)).await;
                    let Ok(Outcome::Published(published)) = outcome else { panic!("answered {outcome:?}") };
                    assert!(published[0].seq.get() > last && published[1].seq == published[0].seq.next());
                    last = published[1].seq.get();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("the submitter ends well");
    }
    journal.close().await;
    let seqs: Vec<_> = world.log("acme").await.iter().map(|e| e.seq.get()).collect();
    assert_eq!(seqs, (1..=(SUBMITTERS * EACH * 2) as u64).collect::<Vec<_>>());
}

pub(super) async fn time_never_falls_within_a_tenant(world: World) {
    world.publish("acme", 1).await;
    let first = world.log("acme").await[0].time;
    world.clock.set(first - Duration::from_hours(1));
    let published = world.publish("acme", 1).await;
    assert_eq!(published[0].time, first);
    assert!(world.publish("fresh", 1).await[0].time < first, "another tenant has its own time");
    world.clock.set(first + Duration::from_secs(1));
    assert_eq!(world.publish("acme", 1).await[0].time, first + Duration::from_secs(1));
}

pub(super) async fn an_event_reads_back_as_it_was_committed(world: World) {
    let mut fact = event(r#"{"z":1.50,"a":"\u00e9\n"}"#);
    fact.owner = Some(UserId::new("ana é").expect("valid"));
    fact.subject = Some(Subject::new("note/\"42\"").expect("valid"));
    fact.body.detail = Some(RawJson::parse("{\"more\":true}").expect("valid"));
    fact.body.debug = Some(RawJson::parse("[]").expect("valid"));
    let publish = Operation::Publish { events: vec![fact.clone()], idempotency: None };
    let committed = world.commit(vec![in_tenant("acme", publish)]).await;
    world.enqueue("acme", work()).await;
    let stored = world.log("acme").await;
    assert_eq!(stored[0], *committed.events[0]);
    assert_eq!(stored[0].fact, fact);
    assert_eq!(stored[1].fact.job.as_ref().map(|job| job.job_type.as_str()), Some("work"));
    assert_eq!(stored[0].envelope(Verbosity::Debug), committed.events[0].envelope(Verbosity::Debug));
    let read = world.store.event(&tenant_id("acme"), Seq::new(1)).await.expect("reads");
    assert_eq!(read.as_ref(), Some(&stored[0]));
    for missing in [0, 3] {
        assert_eq!(world.store.event(&tenant_id("acme"), Seq::new(missing)).await.expect("reads"), None);
    }
}

pub(super) async fn pages_end_at_events_or_bytes_and_say_how_far_they_looked(world: World) {
    world.publish("acme", 10).await;
    let page = |after, events, bytes| {
        let world = world.clone();
        async move {
            let limit = PageLimit { events, bytes };
            let page = world.store.events(&tenant_id("acme"), Seq::new(after), limit).await;
            let page = page.expect("reads").expect("exists");
            (page.events.iter().map(|e| e.seq.get()).collect::<Vec<_>>(), page.scanned_to.get())
        }
    };
    assert_eq!(page(0, 3, 1 << 20).await, (vec![1, 2, 3], 3));
    assert_eq!(page(8, 3, 1 << 20).await, (vec![9, 10], 10));
    assert_eq!(page(10, 3, 1 << 20).await, (vec![], 10));
    assert_eq!(page(4, 100, 0).await, (vec![5], 5), "at least one event comes");
    let (some, scanned) = page(0, 100, 1_000).await;
    assert!((1..10).contains(&some.len()) && scanned == some.len() as u64);
    assert_eq!(page(12, 3, 1 << 20).await, (vec![], 12), "a cursor ahead of the head stays");
}

pub(super) async fn a_jobs_events_are_read_apart(world: World) {
    let job = world.enqueue("acme", work()).await;
    world.enqueue("acme", of_type("other")).await;
    world.publish("acme", 3).await;
    let leased = world.lease("acme").await;
    world.publish("acme", 1).await;
    world.complete("acme", job, leased.lease_no).await.expect("held");
    world.publish("acme", 1).await;
    assert_eq!(world.story("acme", job).await, ["job.queued", "job.started", "job.completed"]);
    let read = |after, events| {
        let world = world.clone();
        async move {
            let limit = PageLimit { events, bytes: 1 << 20 };
            let page = world.store.job_events(&tenant_id("acme"), job, Seq::new(after), limit).await;
            let page = page.expect("reads").expect("exists");
            (page.events.iter().map(|e| e.seq.get()).collect::<Vec<_>>(), page.scanned_to.get())
        }
    };
    assert_eq!(read(0, 2).await, (vec![1, 6], 6));
    assert_eq!(read(6, 2).await, (vec![8], 9), "up to the head, where nothing of the job follows");
    assert_eq!(read(9, 2).await, (vec![], 9));
}

fn keyed(route: &str, key: &str, body: u8) -> Idempotency {
    Idempotency { route: route.into(), key: key.into(), body_hash: [body; 32] }
}

async fn publish_keyed(
    world: &World,
    tenant: &str,
    idempotency: Idempotency,
) -> Result<Vec<Published>, CommandError> {
    match world
        .operate(tenant, Operation::Publish { events: vec![event("1")], idempotency: Some(idempotency) })
        .await?
    {
        Outcome::Published(published) => Ok(published),
        other => panic!("answered {other:?}"),
    }
}

pub(super) async fn a_repeat_under_an_idempotency_key_changes_nothing(world: World) {
    let first = publish_keyed(&world, "acme", keyed("/events", "k", 1)).await.expect("published");
    world.publish("acme", 1).await;
    world.clock.advance(Duration::from_hours(1));
    let again = publish_keyed(&world, "acme", keyed("/events", "k", 1)).await.expect("a repeat");
    assert_eq!(again, first);
    assert_eq!(world.log("acme").await.len(), 2);
}

pub(super) async fn an_idempotency_key_belongs_to_tenant_route_and_body(world: World) {
    publish_keyed(&world, "acme", keyed("/events", "k", 1)).await.expect("published");
    let other_body = publish_keyed(&world, "acme", keyed("/events", "k", 2)).await;
    assert_eq!(other_body, Err(CommandError::IdempotencyMismatch));
    for (tenant, route, key) in [("other", "/events", "k"), ("acme", "/more", "k"), ("acme", "/events", "l")]
    {
        publish_keyed(&world, tenant, keyed(route, key, 2)).await.expect("another key");
    }
    assert_eq!(world.log("acme").await.len(), 3);
}

pub(super) async fn an_idempotency_key_is_forgotten_after_a_day(world: World) {
    publish_keyed(&world, "acme", keyed("/events", "k", 1)).await.expect("published");
    world.clock.advance(Duration::from_secs(24 * 3_600 - 1));
    assert!(publish_keyed(&world, "acme", keyed("/events", "k", 2)).await.is_err());
    world.clock.advance(Duration::from_secs(1));
    let anew = publish_keyed(&world, "acme", keyed("/events", "k", 2)).await.expect("forgotten");
    assert_eq!(anew[0].seq, Seq::new(2));
    assert!(anew[0].time > Timestamp::default());
}

pub(super) async fn a_command_that_fails_leaves_the_rest_of_its_batch(world: World) {
    let job = world.enqueue("acme", work()).await;
    let publish = || in_tenant("acme", Operation::Publish { events: vec![event("1")], idempotency: None });
    let late = in_tenant("acme", Operation::Release { job, lease_no: 7 });
    let committed = world.commit(vec![publish(), late, publish()]).await;
    assert!(committed.outcomes[0].is_ok() && committed.outcomes[1].is_err() && committed.outcomes[2].is_ok());
    assert_eq!(world.log("acme").await.len(), 3);
}
