//! Lost answers, silence and servers that are away.

use std::time::{Duration, Instant};

use tidings_core::webhook::DisabledReason;
use tidings_testkit::Proxy;

use super::*;
use crate::{
    AttemptQuery, Command, CommandError, CommitError, Idempotency, Operation, Outcome, Report, Webhooks as _,
    conformance::{attempt, event, in_tenant, new_endpoint, retrying, tenant_id},
};

fn through(proxy: &Proxy, url: &str) -> PostgresConfig {
    let (_, name) = url.rsplit_once('/').expect("a URL names its database");
    PostgresConfig::new(SERVER.url_at(proxy.addr(), name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_the_commit_yields_neither_a_double_nor_a_refusal() {
    let proxy = Proxy::to(SERVER.addr());
    let store = open(through(&proxy, &SERVER.fresh_database())).await;
    store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("committed");
    for n in 1..=5_u64 {
        // The description of the answer's row comes when the transaction has ended.
        proxy.cut_at_answer(b"outcome_bases");
        let key = Idempotency { route: "/events".into(), key: n.to_string().into(), body_hash: [1; 32] };
        let commands = vec![
            in_tenant("acme", Operation::Publish { events: vec![event("1")], idempotency: Some(key) }),
            in_tenant("acme", Operation::RedeemTicket { id: [n as u8; 16], expires_at: LATE }),
        ];
        let committed = store.commit(0, &Batch { commands }).await.expect("the second answer tells");
        assert!(!proxy.is_armed(), "an answer was lost");
        let Ok(Outcome::Published(published)) = &committed.outcomes[0] else {
            panic!("{:?}", committed.outcomes)
        };
        assert_eq!(published[0].seq.get(), n + 1);
        assert!(
            matches!(committed.outcomes[1], Ok(Outcome::Done)),
            "no false refusal: {:?}",
            committed.outcomes
        );
        assert_eq!(committed.events.len(), 1);
    }
    assert_eq!(log_of(&store, "acme").await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dispatcher_reports_is_done_once_though_its_answer_is_lost() {
    let proxy = Proxy::to(SERVER.addr());
    let store = open(through(&proxy, &SERVER.fresh_database())).await;
    proxy.cut_at_answer(b"numbers");
    let new = new_endpoint();
    let id = new.id;
    let put = in_tenant("acme", Operation::PutEndpoint(Box::new(new)));
    let made = store.commit(0, &Batch { commands: vec![publish("acme", 2), put] }).await.expect("told");
    let Ok(Outcome::Endpoint(made)) = &made.outcomes[1] else { panic!("{:?}", made.outcomes) };
    assert!(!proxy.is_armed(), "an answer was lost");
    assert_eq!((made.cursor, made.change), (Seq::new(2), 1));
    proxy.cut_at_answer(b"verdicts");
    let mut said = Report::new(id, 1);
    said.attempts = vec![attempt(1, LATE), attempt(2, LATE)];
    said.deliveries = vec![retrying(2, 1, LATE)];
    said.disable = Some(DisabledReason::Gone);
    let report = in_tenant("acme", Operation::Report(Box::new(said)));
    let told = store.commit(0, &Batch { commands: vec![report] }).await.expect("told");
    assert!(!proxy.is_armed(), "an answer was lost");
    assert!(matches!(told.outcomes[0], Ok(Outcome::Reported { current: true })), "{:?}", told.outcomes);
    assert_eq!(told.events.len(), 1, "the second answer names the event");
    let log = log_of(&store, "acme").await;
    assert_eq!(log.len(), 3);
    assert_eq!(*told.events[0], log[2]);
    let tenant = tenant_id("acme");
    let query = AttemptQuery { endpoint: Some(id), limit: 9, ..AttemptQuery::default() };
    assert_eq!(store.attempts(&tenant, query).await.expect("reads").len(), 2);
    let disabled = store.endpoint(&tenant, id).await.expect("reads").expect("is there");
    assert_eq!(disabled.generation, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_command_whose_answer_is_lost_is_done_once() {
    let proxy = Proxy::to(SERVER.addr());
    let store = open(through(&proxy, &SERVER.fresh_database())).await;
    store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("committed");
    proxy.cut_at_answer(b"administer");
    let delete = Command::Tenant { tenant: tenant_id("acme"), create: false, operation: Operation::Delete };
    let committed = store.commit(0, &Batch { commands: vec![delete] }).await.expect("told");
    assert!(
        !proxy.is_armed() && matches!(committed.outcomes[0], Ok(Outcome::Done)),
        "{:?}",
        committed.outcomes
    );
    assert_eq!(store.revocations(0).await.expect("reads").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_an_unknown_outcome_and_the_next_batch_goes_on() {
    let proxy = Proxy::to(SERVER.addr());
    let store = open(through(&proxy, &SERVER.fresh_database())).await;
    store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("committed");
    proxy.black_hole();
    let started = Instant::now();
    let silent = store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await;
    assert!(matches!(silent, Err(CommitError::Unknown(_))), "{silent:?}");
    assert!(started.elapsed() < Duration::from_secs(8));
    proxy.pass();
    let next =
        store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("the lane goes on");
    let log = log_of(&store, "acme").await;
    // The silent one may have come through when the network healed.
    assert!(log.len() == 2 || log.len() == 3, "{}", log.len());
    assert!(log.iter().any(|event| event.fact.id == next.events[0].fact.id));
    let seqs: Vec<_> = log.iter().map(|event| event.seq.get()).collect();
    assert_eq!(seqs, (1..=log.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_soon_and_found_again() {
    let proxy = Proxy::to(SERVER.addr());
    let store = open(through(&proxy, &SERVER.fresh_database())).await;
    store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("committed");
    proxy.cut();
    // A connection that was open before may have taken the batch before it broke.
    let first = store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await;
    assert!(first.is_err(), "{first:?}");
    let started = Instant::now();
    let away = store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await;
    assert!(matches!(away, Err(CommitError::Unavailable(_))), "{away:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    proxy.pass();
    store.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("found again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_culprit_alone_is_rejected() {
    let store = open(PostgresConfig::new(SERVER.fresh_database())).await;
    let with_key = |key: &str| {
        let key = Idempotency { route: "/events".into(), key: key.into(), body_hash: [1; 32] };
        in_tenant("acme", Operation::Publish { events: vec![event("1")], idempotency: Some(key) })
    };
    let commands: Vec<_> =
        (0..7).map(|n| with_key(&if n == 4 { "no\0text".to_owned() } else { "k".repeat(n + 1) })).collect();
    let committed = store.commit(0, &Batch { commands }).await.expect("the rest commits");
    for (n, outcome) in committed.outcomes.iter().enumerate() {
        match n {
            4 => assert!(matches!(outcome, Err(CommandError::Rejected(_))), "{outcome:?}"),
            _ => assert!(outcome.is_ok(), "{n}: {outcome:?}"),
        }
    }
    assert_eq!(log_of(&store, "acme").await.len(), 6);
}
