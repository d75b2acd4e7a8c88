use std::time::Duration;

use tidings_core::{Clock as _, EndpointId, EventType, ReplayId, Seq, webhook::DisabledReason};

use super::{
    webhook_reports::{attempt, dead, deliveries, logged, report, retrying, say},
    webhooks::{hooks, put, read},
    world::{World, tenant_id},
};
use crate::{
    AttemptQuery, Command, DeliveryQuery, Maintain, Operation, Outcome, ReplayWhat, Report, Retention,
    WebhookRetention,
};

const DAY: Duration = Duration::from_hours(24);

/// All of it, in pieces; how many endpoints lost something.
pub(super) async fn sweep(world: &World, retention: Retention) -> usize {
    let mut gaps = 0;
    loop {
        match world.run(Command::Maintain(Maintain::Retain { retention, limit: 1_000 })).await {
            Ok(Outcome::Swept(swept)) if !swept.more => return gaps + swept.gaps,
            Ok(Outcome::Swept(swept)) => gaps += swept.gaps,
            other => panic!("retaining answered {other:?}"),
        }
    }
}

async fn oldest(world: &World) -> u64 {
    world.store.log_state(&tenant_id("acme")).await.expect("reads").expect("exists").oldest.get()
}

/// An event a day.
async fn publish_days(world: &World, days: usize) {
    for _ in 0..days {
        world.publish("acme", 1).await;
        world.clock.advance(DAY);
    }
}

pub(super) async fn the_log_waits_for_endpoints(world: World) {
    let retention = Retention::of_log(Some(DAY * 3), Some(5));
    let made = put(&world, "acme").await;
    publish_days(&world, 10).await;
    sweep(&world, retention).await;
    assert_eq!(oldest(&world).await, 1, "nothing was delivered");
    let mut said = report(made.id, 1);
    said.cursor = Some(Seq::new(6));
    said.deliveries = vec![retrying(4, 1, world.clock.now()), dead(2, world.clock.now())];
    say(&world, "acme", said).await;
    sweep(&world, retention).await;
    assert_eq!(oldest(&world).await, 4, "what is retried holds it, a dead letter does not");
    let range = ReplayWhat::Range { id: ReplayId::from_bytes([1; 16]), from: Seq::new(5), to: Seq::new(9) };
    world.operate("acme", Operation::Replay { endpoint: made.id, what: range }).await.expect("is there");
    let mut said = report(made.id, 1);
    (said.cursor, said.delivered) = (Some(Seq::new(10)), vec![Seq::new(4)]);
    say(&world, "acme", said).await;
    sweep(&world, retention).await;
    assert_eq!(oldest(&world).await, 5, "so does a replay");
    let done = vec![(ReplayId::from_bytes([1; 16]), Seq::new(9))];
    say(&world, "acme", Report { replays: done, ..report(made.id, 1) }).await;
    sweep(&world, retention).await;
    assert_eq!(oldest(&world).await, 8, "the log's own retention");
    assert_eq!(world.log("acme").await.len(), 3, "and nobody is told of a gap");
}

pub(super) async fn a_disabled_endpoint_holds_the_log_and_a_deleted_one_does_not(world: World) {
    let retention = Retention::of_log(None, Some(2));
    let made = put(&world, "acme").await;
    world.publish("acme", 5).await;
    say(&world, "acme", Report { disable: Some(DisabledReason::Gone), ..report(made.id, 1) }).await;
    sweep(&world, retention).await;
    assert_eq!(oldest(&world).await, 1);
    world.operate("acme", Operation::DeleteEndpoint(made.id)).await.expect("is there");
    sweep(&world, retention).await;
    assert_eq!(oldest(&world).await, 5);
}

pub(super) async fn what_waited_too_long_is_a_gap(world: World) {
    let retention = Retention::of_log(Some(DAY * 7), None);
    let made = put(&world, "acme").await;
    publish_days(&world, 40).await;
    let mut said = report(made.id, 1);
    said.cursor = Some(Seq::new(5));
    said.deliveries = vec![retrying(3, 1, world.clock.now())];
    say(&world, "acme", said).await;
    let range = ReplayWhat::Range { id: ReplayId::from_bytes([1; 16]), from: Seq::new(1), to: Seq::new(20) };
    world.operate("acme", Operation::Replay { endpoint: made.id, what: range }).await.expect("is there");
    assert_eq!(sweep(&world, retention).await, 1);
    // Event n is 41 − n days old: those of more than 30 days go.
    assert_eq!(oldest(&world).await, 11);
    let log = world.log("acme").await;
    let told: Vec<_> = log.iter().filter(|e| e.fact.event_type == EventType::WEBHOOK_GAP).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].seq, Seq::new(41));
    assert_eq!(
        told[0].fact.body.minimal.as_str(),
        format!(r#"{{"endpoint_id":"{}","from":3,"to":10}}"#, made.id)
    );
    let cut = read(&world, "acme", made.id).await.expect("is there");
    assert_eq!((cut.cursor, cut.generation), (Seq::new(10), 2));
    assert!(cut.change > made.change);
    let replays = hooks(&world).replays(&tenant_id("acme"), made.id).await.expect("reads");
    assert_eq!(replays.iter().map(|r| r.position.get()).collect::<Vec<_>>(), [10]);
    assert!(hooks(&world).retrying(&tenant_id("acme"), made.id, 9).await.expect("reads").is_empty());
    assert_eq!(sweep(&world, retention).await, 0);
    assert_eq!(world.log("acme").await.len(), 31, "it is told once");
}

pub(super) async fn what_the_log_would_keep_anyway_is_no_gap(world: World) {
    let made = put(&world, "acme").await;
    publish_days(&world, 40).await;
    sweep(&world, Retention::of_log(Some(DAY * 60), None)).await;
    assert_eq!(oldest(&world).await, 1);
    assert_eq!(read(&world, "acme", made.id).await, Some(made));
}

pub(super) async fn attempts_are_forgotten_by_count_and_age(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 1).await;
    let attempts = |count: usize| vec![attempt(1, world.clock.now()); count];
    let keep = |age, most| {
        let webhooks = WebhookRetention {
            attempts_age: age,
            attempts_per_endpoint: most,
            ..WebhookRetention::default()
        };
        Retention { webhooks, ..Retention::of_log(None, None) }
    };
    let numbers = async || -> Vec<u64> {
        let query = AttemptQuery { endpoint: Some(made.id), limit: 100, ..Default::default() };
        logged(&world, query).await.iter().map(|logged| logged.place.n).collect()
    };
    say(&world, "acme", Report { attempts: attempts(10), ..report(made.id, 1) }).await;
    sweep(&world, keep(None, 4)).await;
    assert_eq!(numbers().await, [10, 9, 8, 7]);
    world.clock.advance(DAY * 2);
    say(&world, "acme", Report { attempts: attempts(2), ..report(made.id, 1) }).await;
    sweep(&world, keep(Some(DAY), 100)).await;
    assert_eq!(numbers().await, [12, 11]);
}

/// In small pieces; how many dead letters went.
async fn sweep_dead(world: &World, age: Option<Duration>, most: Option<u64>) -> usize {
    let webhooks = WebhookRetention {
        dead_letters_age: age,
        dead_letters_per_endpoint: most,
        ..WebhookRetention::default()
    };
    let retention = Retention { webhooks, ..Retention::of_log(None, None) };
    let mut went = 0;
    loop {
        match world.run(Command::Maintain(Maintain::Retain { retention, limit: 2 })).await {
            Ok(Outcome::Swept(swept)) => {
                assert!(swept.rows <= 2, "{swept:?}");
                went += swept.dead_letters;
                if !swept.more {
                    return went;
                }
            }
            other => panic!("retaining answered {other:?}"),
        }
    }
}

async fn seqs(world: &World, endpoint: EndpointId, dead: bool) -> Vec<u64> {
    deliveries(world, endpoint, dead).await.iter().map(|delivery| delivery.seq.get()).collect()
}

pub(super) async fn dead_letters_are_forgotten_by_age(world: World) {
    let (one, two) = (put(&world, "acme").await.id, put(&world, "other").await.id);
    let (start, mut said) = (world.clock.now(), [report(one, 1), report(two, 1)]);
    for tenant in ["acme", "other"] {
        world.publish(tenant, 9).await;
    }
    // The later an event, the earlier it died.
    said[0].deliveries = (1..=8).map(|seq| dead(seq, start + DAY * (9 - seq as u32))).collect();
    said[0].deliveries.push(retrying(9, 1, start));
    said[1].deliveries = vec![dead(1, start + DAY * 4), dead(2, start + DAY * 5)];
    let [of_one, of_two] = said;
    say(&world, "acme", of_one).await;
    say(&world, "other", of_two).await;
    world.clock.advance(DAY * 12);
    assert_eq!(sweep_dead(&world, None, None).await, 0);
    assert_eq!(sweep_dead(&world, Some(DAY * 7), None).await, 5, "those of more than seven days");
    assert_eq!(seqs(&world, one, true).await, [1, 2, 3, 4]);
    assert_eq!(seqs(&world, one, false).await, [9], "what is retried is none");
    let query = DeliveryQuery { dead: true, after: Seq::ZERO, limit: 10, bytes: usize::MAX };
    let left = hooks(&world).deliveries(&tenant_id("other"), two, query).await.expect("reads");
    assert_eq!(left.iter().map(|row| row.seq.get()).collect::<Vec<_>>(), [2]);
    // What is sent again has its tries ahead of it, however long ago it died.
    let again = Operation::Replay { endpoint: one, what: ReplayWhat::Failures };
    world.operate("acme", again).await.expect("is there");
    assert_eq!(sweep_dead(&world, Some(DAY), None).await, 1, "the other's");
    assert_eq!(seqs(&world, one, false).await, [1, 2, 3, 4, 9]);
    assert_eq!(sweep_dead(&world, Some(DAY), Some(1)).await, 0);
}

pub(super) async fn dead_letters_are_forgotten_by_number(world: World) {
    let (one, two) = (put(&world, "acme").await.id, put(&world, "acme").await.id);
    world.publish("acme", 20).await;
    let start = world.clock.now();
    let mut said = report(one, 1);
    // Two of one moment: the later event stays.
    said.deliveries = (1..=11).map(|seq| dead(seq, start + DAY * (seq / 2) as u32)).collect();
    said.deliveries.push(retrying(12, 1, start));
    say(&world, "acme", said).await;
    // Few, and far apart.
    let few = Report { deliveries: [1, 9, 20].map(|seq| dead(seq, start)).into(), ..report(two, 1) };
    say(&world, "acme", few).await;
    assert_eq!(sweep_dead(&world, None, Some(11)).await, 0);
    assert_eq!(sweep_dead(&world, None, Some(4)).await, 7);
    assert_eq!(seqs(&world, one, true).await, [8, 9, 10, 11], "the newest stay");
    assert_eq!((seqs(&world, one, false).await, seqs(&world, two, true).await), (vec![12], vec![1, 9, 20]));
    world.clock.advance(DAY * 5);
    assert_eq!(sweep_dead(&world, Some(DAY), Some(3)).await, 4, "one by number, the other's by age");
    assert_eq!(seqs(&world, one, true).await, [9, 10, 11]);
}

pub(super) async fn a_deleted_tenants_webhooks_go(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 1).await;
    let mut said = report(made.id, 1);
    (said.attempts, said.deliveries) =
        (vec![attempt(1, world.clock.now())], vec![dead(1, world.clock.now())]);
    say(&world, "acme", said).await;
    world.operate("acme", Operation::Delete).await.expect("deleted");
    assert_eq!(read(&world, "acme", made.id).await, None);
    sweep(&world, Retention::of_log(None, None)).await;
    assert!(hooks(&world).dispatchable(None, 0, 10).await.expect("reads").is_empty());
    world.publish("acme", 1).await;
    assert_eq!(read(&world, "acme", made.id).await, None);
    let query = AttemptQuery { seq: Some(Seq::new(1)), limit: 10, ..Default::default() };
    assert!(logged(&world, query).await.is_empty());
}
