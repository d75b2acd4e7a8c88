use std::time::Duration;

use tidings_core::{
    Clock as _, EndpointId, EndpointSpec, EventId, EventType, Seq, Timestamp,
    webhook::{Attempt, AttemptFailure, Delivery, DeliveryState, DisabledReason, EndpointState, Format},
};

use super::{
    webhooks::{MINUTE, change, hooks, put, read, to},
    world::{World, in_tenant, tenant_id},
};
use crate::{
    AttemptPlace, AttemptQuery, DeliveryQuery, EndpointBacklog, EndpointChange, LoggedAttempt, Operation,
    Outcome, Report,
};

pub(super) const fn report(endpoint: EndpointId, generation: u64) -> Report {
    Report::new(endpoint, generation)
}

pub(crate) fn attempt(seq: u64, at: Timestamp) -> Attempt {
    Attempt {
        seq: Seq::new(seq),
        event: EventId::from_bytes([seq as u8; 16]),
        number: 1,
        at,
        latency: Duration::from_micros(1_234),
        status: Some(200),
        request_bytes: 300,
        answer_bytes: 2,
        answer: Vec::new().into(),
        failure: None,
        next_at: None,
    }
}

pub(crate) fn retrying(seq: u64, attempts: u32, next_at: Timestamp) -> Delivery {
    Delivery {
        seq: Seq::new(seq),
        event: EventId::from_bytes([seq as u8; 16]),
        event_type: EventType::parse("note.created").expect("valid"),
        state: DeliveryState::Retrying { attempts, next_at },
        body: None,
        format: Format::Standard,
    }
}

pub(super) fn dead(seq: u64, at: Timestamp) -> Delivery {
    let state = DeliveryState::Dead { attempts: 4, at, failure: AttemptFailure::Timeout };
    let (body, format) = (Some(vec![b'{', 0, 255].into()), Format::CloudeventsBinary);
    Delivery { state, body, format, ..retrying(seq, 0, at) }
}

pub(super) async fn say(world: &World, tenant: &str, report: Report) -> bool {
    match world.operate(tenant, Operation::Report(Box::new(report))).await {
        Ok(Outcome::Reported { current }) => current,
        other => panic!("a report answered {other:?}"),
    }
}

pub(super) async fn deliveries(world: &World, id: EndpointId, dead: bool) -> Vec<Delivery> {
    let query = DeliveryQuery { dead, after: Seq::ZERO, limit: 100, bytes: usize::MAX };
    hooks(world).deliveries(&tenant_id("acme"), id, query).await.expect("reads")
}

pub(super) async fn logged(world: &World, query: AttemptQuery) -> Vec<LoggedAttempt> {
    hooks(world)
        .attempts(&tenant_id("acme"), AttemptQuery { limit: query.limit.max(1), ..query })
        .await
        .expect("reads")
}

pub(super) async fn a_page_of_deliveries_is_bounded_in_bytes(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 70).await;
    let mut said = report(made.id, 1);
    let now = world.clock.now();
    said.deliveries =
        (1..=70).map(|seq| Delivery { body: Some(vec![b'x'; 100].into()), ..dead(seq, now) }).collect();
    say(&world, "acme", said).await;
    let mut query = DeliveryQuery { dead: true, after: Seq::ZERO, limit: 60, bytes: 250 };
    let page = async |query: DeliveryQuery| {
        hooks(&world).deliveries(&tenant_id("acme"), made.id, query).await.expect("reads")
    };
    let first = page(query).await;
    assert_eq!((first.len(), query.next_after(&first)), (3, Some(Seq::new(3))));
    query.after = Seq::new(68);
    let last = page(query).await;
    assert_eq!((last.len(), query.next_after(&last)), (2, None));
    let large = DeliveryQuery { after: Seq::ZERO, bytes: 1, ..query };
    assert_eq!(page(large).await.len(), 1, "one at least");
    let many = DeliveryQuery { after: Seq::new(5), bytes: usize::MAX, ..query };
    let found = page(many).await;
    assert!(found.iter().map(|row| row.seq.get()).eq(6..=65), "{found:?}");
    assert_eq!(many.next_after(&found), Some(Seq::new(65)));
}

pub(super) async fn a_page_of_attempts_is_bounded_in_bytes(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 1).await;
    let mut said = report(made.id, 1);
    let answered = Attempt { answer: vec![b'x'; 100].into(), ..attempt(1, world.clock.now()) };
    said.attempts = vec![answered; 300];
    say(&world, "acme", said).await;
    for (endpoint, seq) in [(Some(made.id), None), (None, Some(Seq::new(1)))] {
        let mut query = AttemptQuery { endpoint, seq, before: None, limit: 280, bytes: 250 };
        let first = logged(&world, query).await;
        let next = query.next_before(&first).expect("there are more");
        assert_eq!((first.len(), next.n), (3, 298));
        query.before = Some(AttemptPlace { n: 3, ..next });
        let last = logged(&world, query).await;
        assert_eq!((last.len(), query.next_before(&last)), (2, None));
        let large = AttemptQuery { before: None, bytes: 1, ..query };
        assert_eq!(logged(&world, large).await.len(), 1, "one at least");
        let many = AttemptQuery { before: None, bytes: usize::MAX, ..query };
        let found = logged(&world, many).await;
        assert!(found.iter().map(|logged| logged.place.n).eq((21..=300).rev()), "{}", found.len());
        assert_eq!(many.next_before(&found).map(|place| place.n), Some(21));
    }
}

pub(super) async fn what_a_receiver_asked_for_is_kept(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 2).await;
    let now = world.clock.now();
    let asked = async |generation, until| {
        let quiet_until = Some(until);
        say(&world, "acme", Report { quiet_until, ..report(made.id, generation) }).await;
    };
    let kept = async || read(&world, "acme", made.id).await.expect("is there").quiet_until;
    assert_eq!(kept().await, None);
    asked(1, now + MINUTE * 2).await;
    asked(1, now + MINUTE).await;
    say(&world, "acme", Report { cursor: Some(Seq::new(1)), ..report(made.id, 1) }).await;
    assert_eq!(kept().await, Some(now + MINUTE * 2), "it does not go back");
    asked(9, now + MINUTE * 9).await;
    assert_eq!(kept().await, Some(now + MINUTE * 2), "another generation's receiver is not heard");
    let heard = hooks(&world).dispatchable(None, 0, 10).await.expect("reads").remove(0);
    assert_eq!(heard.endpoint.expect("is served").quiet_until, Some(now + MINUTE * 2));
    let with = async |url: &str| {
        let seen = read(&world, "acme", made.id).await.expect("is there");
        let spec = EndpointSpec { url: url.into(), description: url.into(), ..seen.spec };
        let new = EndpointChange::Spec { spec: Box::new(spec), seen: seen.change };
        change(&world, "acme", to(made.id, new)).await.expect("is there").quiet_until
    };
    assert_eq!(with(&made.spec.url).await, Some(now + MINUTE * 2));
    assert_eq!(kept().await, Some(now + MINUTE * 2), "the receiver is the same");
    assert_eq!(with("https://another.example.com/").await, None);
    assert_eq!(kept().await, None, "another one has asked for nothing");
}

pub(super) async fn a_report_is_one_commit(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 6).await;
    let now = world.clock.now();
    let mut failed = attempt(2, now);
    (failed.status, failed.failure, failed.next_at) =
        (None, Some(AttemptFailure::Connect), Some(now + MINUTE));
    let mut answered = attempt(3, now);
    (answered.status, answered.failure) = (Some(500), Some(AttemptFailure::Status));
    answered.answer = vec![b'n', b'o', 0, 255].into();
    let mut said = report(made.id, 1);
    said.cursor = Some(Seq::new(4));
    said.attempts = vec![attempt(1, now), failed.clone(), answered.clone()];
    said.deliveries = vec![retrying(2, 1, now + MINUTE), dead(3, now)];
    said.failing_since = Some(Some(now));
    assert!(say(&world, "acme", said).await);
    let after = read(&world, "acme", made.id).await.expect("is there");
    assert_eq!((after.cursor, after.failing_since), (Seq::new(4), Some(now)));
    assert_eq!((after.generation, after.change), (made.generation, made.change));
    assert_eq!(deliveries(&world, made.id, false).await, [retrying(2, 1, now + MINUTE)]);
    assert_eq!(deliveries(&world, made.id, true).await, [dead(3, now)]);
    let all = logged(&world, AttemptQuery { endpoint: Some(made.id), limit: 10, ..Default::default() }).await;
    let place = |n| AttemptPlace { endpoint: made.id, n };
    let expected = [(3, answered), (2, failed), (1, attempt(1, now))]
        .map(|(n, attempt)| LoggedAttempt { place: place(n), attempt });
    assert_eq!(all, expected);
    let mut then = report(made.id, 1);
    then.cursor = Some(Seq::new(3));
    then.attempts = vec![attempt(2, now)];
    then.delivered = vec![Seq::new(2)];
    then.deliveries = vec![retrying(3, 0, now)];
    then.failing_since = Some(None);
    assert!(say(&world, "acme", then).await);
    let after = read(&world, "acme", made.id).await.expect("is there");
    assert_eq!((after.cursor, after.failing_since), (Seq::new(4), None), "a cursor does not go back");
    let kept = Delivery { body: dead(3, now).body, format: dead(3, now).format, ..retrying(3, 0, now) };
    assert_eq!(deliveries(&world, made.id, false).await, [kept], "the body stays, and what it is");
    assert_eq!(deliveries(&world, made.id, true).await, []);
    let ahead = Report { cursor: Some(Seq::new(99)), ..report(made.id, 1) };
    assert!(say(&world, "acme", ahead).await);
    assert_eq!(read(&world, "acme", made.id).await.expect("is there").cursor, Seq::new(6));
}

pub(super) async fn many_reports_go_in_one_batch(world: World) {
    let mut made = Vec::new();
    for n in 0..6 {
        made.push(put(&world, if n % 2 == 0 { "acme" } else { "other" }).await);
    }
    world.publish("acme", 50).await;
    world.publish("other", 50).await;
    let now = world.clock.now();
    let unknown = EndpointId::from_bytes([9; 16]);
    let mut commands: Vec<_> = made
        .iter()
        .map(|endpoint| {
            let mut said = report(endpoint.id, 1);
            said.cursor = Some(Seq::new(50));
            said.attempts = (1..=50).map(|seq| attempt(seq, now)).collect();
            said.deliveries = vec![retrying(7, 1, now), dead(8, now)];
            in_tenant(endpoint.tenant.as_str(), Operation::Report(Box::new(said)))
        })
        .collect();
    commands.insert(2, in_tenant("acme", Operation::Report(Box::new(report(unknown, 1)))));
    commands.insert(
        4,
        in_tenant("acme", Operation::Publish { events: vec![super::world::event("1")], idempotency: None }),
    );
    let outcomes = world.commit(commands).await.outcomes;
    let reported = outcomes.iter().filter(|o| matches!(o, Ok(Outcome::Reported { current: true }))).count();
    assert_eq!(reported, 6);
    assert_eq!(outcomes[2].as_ref().err(), Some(&crate::CommandError::NotFound));
    assert!(matches!(outcomes[4], Ok(Outcome::Published(_))));
    for endpoint in &made {
        let query = AttemptQuery { endpoint: Some(endpoint.id), limit: 100, ..Default::default() };
        let found = hooks(&world).attempts(&endpoint.tenant, query).await.expect("reads");
        assert_eq!(found.len(), 50);
        assert_eq!(found[0].place.n, 50);
        assert_eq!(found[0].attempt.seq, Seq::new(50));
        let behind =
            hooks(&world).backlog(&endpoint.tenant, endpoint.id).await.expect("reads").expect("is there");
        assert_eq!((behind.cursor, behind.retrying, behind.dead), (Seq::new(50), 1, 1));
    }
}

pub(super) async fn an_older_generation_moves_no_cursor(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 6).await;
    let now = world.clock.now();
    let mut first = report(made.id, 1);
    first.cursor = Some(Seq::new(2));
    first.deliveries = vec![retrying(1, 1, now), retrying(2, 1, now)];
    say(&world, "acme", first).await;
    let paused = change(&world, "acme", to(made.id, EndpointChange::Pause)).await.expect("active");
    let mut late = report(made.id, 1);
    late.cursor = Some(Seq::new(6));
    late.attempts = vec![attempt(1, now), attempt(3, now)];
    late.delivered = vec![Seq::new(1)];
    late.deliveries = vec![dead(2, now), retrying(4, 1, now)];
    late.failing_since = Some(Some(now));
    late.disable = Some(DisabledReason::Gone);
    assert!(!say(&world, "acme", late).await);
    assert_eq!(read(&world, "acme", made.id).await, Some(paused));
    assert_eq!(deliveries(&world, made.id, false).await, [], "1 was delivered, and 4 comes from the cursor");
    assert_eq!(deliveries(&world, made.id, true).await, [dead(2, now)]);
    let all = logged(&world, AttemptQuery { endpoint: Some(made.id), limit: 10, ..Default::default() }).await;
    assert_eq!(all.len(), 2, "what happened is logged");
    assert_eq!(world.log("acme").await.len(), 6, "nothing is published");
}

pub(super) async fn disabling_is_published_in_the_same_commit(world: World) {
    let made = put(&world, "acme").await;
    world.publish("acme", 1).await;
    let since = world.clock.now();
    say(&world, "acme", Report { failing_since: Some(Some(since)), ..report(made.id, 1) }).await;
    world.clock.advance(MINUTE);
    let mut said = report(made.id, 1);
    said.disable = Some(DisabledReason::Failing);
    let committed = world.commit(vec![in_tenant("acme", Operation::Report(Box::new(said)))]).await;
    let log = world.log("acme").await;
    assert_eq!(log.len(), 2);
    assert_eq!(committed.events.iter().map(|event| (**event).clone()).collect::<Vec<_>>(), log[1..]);
    assert_eq!(committed.epochs.len(), 1);
    assert_eq!((log[1].seq, log[1].time), (Seq::new(2), world.clock.now()));
    assert_eq!(log[1].fact.event_type, EventType::WEBHOOK_DISABLED);
    assert_eq!(
        log[1].fact.body.minimal.as_str(),
        format!(r#"{{"endpoint_id":"{}","failing_since":"{since}","reason":"failing"}}"#, made.id)
    );
    let disabled = read(&world, "acme", made.id).await.expect("is there");
    let state = EndpointState::Disabled { reason: DisabledReason::Failing, at: world.clock.now() };
    assert_eq!((disabled.state, disabled.generation), (state, 2));
    assert!(disabled.change > made.change);
    let again = Report { disable: Some(DisabledReason::Gone), ..report(made.id, 2) };
    assert!(say(&world, "acme", again).await, "it is of this generation");
    assert_eq!(read(&world, "acme", made.id).await, Some(disabled), "it is disabled already");
    assert_eq!(world.log("acme").await.len(), 2);
    world.publish("acme", 1).await;
    assert_eq!(world.log("acme").await[2].seq, Seq::new(3), "the log goes on after it");
}

pub(super) async fn attempts_are_read_by_endpoint_and_by_event(world: World) {
    let (one, two) = (put(&world, "acme").await.id, put(&world, "acme").await.id);
    world.publish("acme", 3).await;
    let now = world.clock.now();
    for _ in 0..2 {
        for id in [one, two] {
            let attempts = vec![attempt(1, now), attempt(2, now)];
            say(&world, "acme", Report { attempts, ..report(id, 1) }).await;
        }
    }
    let places = async |endpoint, seq: Option<u64>, before, limit| -> Vec<AttemptPlace> {
        let query = AttemptQuery { endpoint, seq: seq.map(Seq::new), before, limit, ..Default::default() };
        logged(&world, query).await.into_iter().map(|logged| logged.place).collect()
    };
    let place = |endpoint, n| AttemptPlace { endpoint, n };
    assert_eq!(places(Some(one), None, None, 3).await, [4, 3, 2].map(|n| place(one, n)));
    assert_eq!(places(Some(one), None, Some(place(one, 2)), 3).await, [place(one, 1)]);
    assert_eq!(places(Some(one), Some(1), None, 9).await, [3, 1].map(|n| place(one, n)));
    let (high, low) = if one > two { (one, two) } else { (two, one) };
    let of_event = [place(high, 4), place(high, 2), place(low, 4), place(low, 2)];
    assert_eq!(places(None, Some(2), None, 9).await, of_event);
    assert_eq!(places(None, Some(2), Some(of_event[1]), 9).await, of_event[2..]);
    assert!(places(None, Some(3), None, 9).await.is_empty());
    assert!(places(None, None, None, 9).await.is_empty());
}

pub(super) async fn a_backlog_says_how_old_it_is(world: World) {
    let made = put(&world, "acme").await;
    let behind = async || -> EndpointBacklog {
        hooks(&world).backlog(&tenant_id("acme"), made.id).await.expect("reads").expect("is there")
    };
    let start = world.clock.now();
    let is = |cursor, head, oldest, (retrying, dead)| EndpointBacklog {
        cursor: Seq::new(cursor),
        head: Seq::new(head),
        oldest,
        retrying,
        dead,
    };
    assert_eq!(behind().await, is(0, 0, None, (0, 0)));
    for _ in 0..4 {
        world.publish("acme", 1).await;
        world.clock.advance(MINUTE);
    }
    assert_eq!(behind().await, is(0, 4, Some(start), (0, 0)));
    let mut said = report(made.id, 1);
    said.cursor = Some(Seq::new(3));
    said.deliveries = vec![dead(1, start), retrying(2, 1, start)];
    say(&world, "acme", said).await;
    assert_eq!(behind().await, is(3, 4, Some(start + MINUTE), (1, 1)));
    let last = Report { cursor: Some(Seq::new(4)), delivered: vec![Seq::new(2)], ..report(made.id, 1) };
    say(&world, "acme", last).await;
    assert_eq!(behind().await, is(4, 4, None, (0, 1)), "a dead letter waits for nobody");
    let at = async |time| hooks(&world).seq_at(&tenant_id("acme"), time).await.expect("reads");
    assert_eq!(at(start).await, Some(Seq::new(1)));
    assert_eq!(at(start + Duration::from_secs(61)).await, Some(Seq::new(3)));
    assert_eq!(at(start + MINUTE * 9).await, Some(Seq::new(5)));
    assert_eq!(hooks(&world).seq_at(&tenant_id("nobody"), start).await.expect("reads"), None);
}
