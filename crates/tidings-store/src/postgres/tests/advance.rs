//! Most batches go through a call of their own.

use tidings_core::{Job, WorkerName, job::StateName};
use tidings_testkit::Proxy;
use tokio_postgres::types::Type;

use super::*;
use crate::{
    Claim, CommandError, Idempotency, Outcome, TenantState,
    conformance::{LEASE, ManualClock, one, work},
    postgres::{codec::Id, pool::Pool},
};

async fn committed(store: &PostgresStore, commands: Vec<Command>) -> Vec<Result<Vec<u64>, CommandError>> {
    let committed = store.commit(0, &Batch { commands }).await.expect("committed");
    let outcomes = committed.outcomes.into_iter().map(|outcome| match outcome? {
        Outcome::Published(events) => Ok(events.iter().map(|event| event.seq.get()).collect()),
        other => panic!("{other:?}"),
    });
    outcomes.collect()
}

fn operate(tenant: &str, operation: Operation) -> Batch {
    Batch { commands: vec![Command::Tenant { tenant: tenant_id(tenant), create: false, operation }] }
}

/// How many events calls of `tidings.advance` have written: those of `tidings.commit` name every verdict.
fn advanced(database: &str) -> u64 {
    let text = SERVER.psql(
        database,
        "SELECT coalesce(sum(h - b), 0) FROM tidings.batches, unnest(bases, heads) AS x(b, h) WHERE verdicts IS NULL",
    );
    text.trim().parse().expect("a number")
}

#[tokio::test]
async fn known_tenants_are_advanced_in_the_order_of_the_commands() {
    let (name, url) = named_database();
    let store = open(PostgresConfig::new(url)).await;
    // In no order of names, and one twice.
    let batch = || vec![publish("zoe", 2), publish("b.c", 1), publish("b-c", 1), publish("zoe", 1)];
    let first = committed(&store, batch()).await;
    assert_eq!((first, advanced(&name)), (vec![Ok(vec![1, 2]), Ok(vec![1]), Ok(vec![1]), Ok(vec![3])], 0));
    let second = committed(&store, batch()).await;
    assert_eq!((second, advanced(&name)), (vec![Ok(vec![4, 5]), Ok(vec![2]), Ok(vec![2]), Ok(vec![6])], 5));
    let log = log_of(&store, "zoe").await;
    assert_eq!(log.iter().map(|event| event.seq.get()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(log.is_sorted_by_key(|event| event.time));
}

#[tokio::test]
async fn a_tenant_that_went_is_missed_and_made_again() {
    let (name, url) = named_database();
    let store = open(PostgresConfig::new(url)).await;
    for _ in 0..2 {
        committed(&store, vec![publish("gone", 1), publish("stays", 1)]).await;
    }
    store.commit(0, &operate("gone", Operation::Delete)).await.expect("deleted");
    let again = committed(&store, vec![publish("gone", 1), publish("stays", 1)]).await;
    assert_eq!(again, [Ok(vec![1]), Ok(vec![3])], "a new history, and the other one goes on");
    assert_eq!(advanced(&name), 2, "what missed a tenant names its verdicts");
    store.commit(0, &operate("gone", Operation::Delete)).await.expect("deleted");
    let mut command = publish("gone", 1);
    if let Command::Tenant { create, .. } = &mut command {
        *create = false;
    }
    assert_eq!(committed(&store, vec![command]).await, [Err(CommandError::UnknownTenant)]);
}

#[tokio::test]
async fn a_suspended_tenant_alone_is_refused() {
    let (_, url) = named_database();
    let store = open(PostgresConfig::new(url)).await;
    let both = || vec![publish("quiet", 1), publish("loud", 1)];
    committed(&store, both()).await;
    let suspend = operate("quiet", Operation::SetState(TenantState::Suspended));
    store.commit(0, &suspend).await.expect("suspended");
    for seq in 2..4 {
        let outcomes = committed(&store, both()).await;
        assert_eq!(outcomes, [Err(CommandError::TenantSuspended), Ok(vec![seq])]);
    }
    assert_eq!(log_of(&store, "quiet").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_answer_is_lost_is_done_once() {
    let proxy = Proxy::to(SERVER.addr());
    let (name, url) = named_database();
    let through = PostgresConfig::new(SERVER.url_at(proxy.addr(), &name));
    let store = open(through).await;
    committed(&store, vec![publish("acme", 1)]).await;
    for seq in 2..5 {
        proxy.cut_at_answer(b"epochs");
        assert_eq!(committed(&store, vec![publish("acme", 1)]).await, [Ok(vec![seq])]);
        assert!(!proxy.is_armed(), "an answer was lost");
    }
    assert_eq!((log_of(&store, "acme").await.len(), advanced(&name)), (4, 3));
    drop(open(PostgresConfig::new(url)).await);
}

/// One event for `acme`, as batch 7 of a writer.
async fn advance_once(pool: &Pool) -> Result<i64, String> {
    let timeline: i32 = pool.query("SELECT tidings.timeline()", &[]).await.expect("reads")[0].get(0);
    let rows = pool
        .query(
            &format!(
                "SELECT bases[1] FROM tidings.advance($1, 7, $2, true, NULL, '{{acme}}', '{{1}}', '{{1}}', '{{1}}', NULL,
                     ARRAY[$1], '{{a.b}}', NULL, NULL, NULL, NULL, '{{1}}'{})",
                ", NULL".repeat(44)
            ),
            &[(&Id([7; 16]), Type::UUID), (&timeline, Type::INT4)],
        )
        .await;
    rows.map(|rows| rows[0].get(0)).map_err(|fault| fault.text().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_call_twice_at_once_is_done_once() {
    let (name, url) = named_database();
    let store = open(PostgresConfig::new(url)).await;
    committed(&store, vec![publish("acme", 1)]).await;
    let pool = store.0.pool.clone();
    // Both wait for the counter row; who comes second finds the batch's row taken.
    let holder = pool.connection().await.expect("connects");
    holder.batch_execute("BEGIN; UPDATE tidings.tenants SET head = head").await.expect("locks");
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { advance_once(&pool).await })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(3);
    while SERVER.psql(&name, waiting).trim() != "2" {
        assert!(std::time::Instant::now() < deadline, "both calls wait");
    }
    holder.batch_execute("COMMIT").await.expect("lets go");
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.expect("ends"));
    }
    answers.sort();
    assert!(matches!(&answers[..], [Ok(1), Err(text)] if text.contains("23505")), "{answers:?}");
    assert_eq!(advance_once(&pool).await, Ok(1), "sent once more, it is answered as the first was");
    assert_eq!(log_of(&store, "acme").await.len(), 2);
}

/// Jobs of `acme`, leased by one node.
async fn leased(store: &PostgresStore, count: usize) -> Vec<Job> {
    let jobs = (0..count).map(|_| work()).collect();
    let enqueue = in_tenant("acme", Operation::Enqueue { jobs, idempotency: None });
    store.commit(0, &Batch { commands: vec![enqueue] }).await.expect("commits");
    let claim = Claim {
        tenants: one("acme"),
        types: vec![work().spec.job_type],
        worker: WorkerName::new("w").expect("valid"),
        max: count,
        length: LEASE,
    };
    let claimed = store.commit(0, &Batch { commands: vec![Command::Claim(claim)] }).await.expect("commits");
    let Ok(Outcome::Claimed(claimed)) = claimed.outcomes.into_iter().next().expect("one") else {
        panic!("is claimed")
    };
    claimed.leases.into_iter().map(|lease| lease.job).collect()
}

fn complete(job: &Job) -> Command {
    let (job, lease_no) = (job.id, job.lease_no);
    in_tenant("acme", Operation::Complete { job, lease_no, result: None, pending: None })
}

#[tokio::test]
async fn a_change_whose_ground_has_moved_leaves_no_gap_and_is_decided_anew() {
    let (name, url) = named_database();
    let a = open(PostgresConfig::new(url.clone())).await;
    let b = open(PostgresConfig::new(url)).await;
    let jobs = leased(&a, 3).await;
    a.commit(0, &Batch { commands: vec![publish("other", 1)] }).await.expect("is met");
    // The first node still remembers the second job as it was.
    let cancel = in_tenant("acme", Operation::Cancel { job: jobs[1].id });
    b.commit(0, &Batch { commands: vec![cancel] }).await.expect("commits").outcomes.remove(0).expect("done");
    let before = log_of(&b, "acme").await.len() as u64;
    let mut commands = vec![publish("acme", 1), publish("other", 1)];
    commands.extend(jobs.iter().map(complete));
    commands.push(publish("acme", 1));
    let committed = a.commit(0, &Batch { commands }).await.expect("commits");
    for outcome in &committed.outcomes {
        assert!(outcome.is_ok(), "{outcome:?}");
    }
    let moved = "SELECT count(*) FROM tidings.batches WHERE cardinality(repeats) > 0 AND verdicts IS NULL";
    assert_eq!(SERVER.psql(&name, moved).trim(), "1", "one call missed one change");
    let log = log_of(&b, "acme").await;
    let seqs: Vec<_> = log.iter().map(|event| event.seq.get()).collect();
    assert_eq!(seqs, (1..=before + 5).collect::<Vec<_>>());
    let told: Vec<_> = log[before as usize..].iter().map(|e| e.fact.event_type.as_str()).collect();
    assert_eq!(told, ["note.created", "job.completed", "job.completed", "note.created", "job.completed"]);
    assert_eq!(log_of(&b, "other").await.len(), 2);
    let mut emitted: Vec<_> = committed.events.iter().filter(|e| e.tenant == tenant_id("acme")).collect();
    emitted.sort_by_key(|event| event.seq);
    assert!(emitted.iter().zip(&log[before as usize..]).all(|(told, kept)| ***told == *kept), "{emitted:?}");
    for job in &jobs {
        let kept = b.job(&tenant_id("acme"), job.id).await.expect("reads").expect("is there");
        let event =
            log.iter().rfind(|e| e.fact.job.as_ref().is_some_and(|j| j.id == job.id)).expect("is told");
        assert_eq!((kept.state.name(), kept.seq), (StateName::Completed, event.seq));
    }
}

#[tokio::test]
async fn a_refusal_does_not_rest_on_what_is_remembered() {
    let (_, url) = named_database();
    let clock = Arc::new(ManualClock::default());
    let config =
        PostgresConfig { clock: StoreClock::Injected(Arc::clone(&clock) as _), ..PostgresConfig::new(url) };
    let (a, b) = (open(config.clone()).await, open(config).await);
    let job = leased(&a, 1).await.remove(0);
    clock.advance(LEASE / 2);
    let heartbeat = Operation::Heartbeat { job: job.id, lease_no: job.lease_no, length: LEASE };
    b.commit(0, &Batch { commands: vec![in_tenant("acme", heartbeat)] })
        .await
        .expect("commits")
        .outcomes
        .remove(0)
        .expect("extended");
    clock.advance(LEASE / 2 + std::time::Duration::from_secs(1));
    // What the first node remembers has run out.
    let outcome =
        a.commit(0, &Batch { commands: vec![complete(&job)] }).await.expect("commits").outcomes.remove(0);
    assert!(matches!(outcome, Ok(Outcome::Job(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_retry_does_not_rest_on_what_is_remembered() {
    let (_, url) = named_database();
    let a = open(PostgresConfig::new(url.clone())).await;
    let b = open(PostgresConfig::new(url)).await;
    let job = leased(&a, 1).await.remove(0);
    let done = b.commit(0, &Batch { commands: vec![complete(&job)] }).await.expect("commits");
    done.outcomes.into_iter().next().expect("one").expect("completed");
    // The first node remembers it running.
    let idempotency = Some(Idempotency { route: "retry".into(), key: "once".into(), body_hash: [0; 32] });
    let retry = in_tenant("acme", Operation::Retry { job: job.id, id: job_id(), idempotency });
    let outcome = a.commit(0, &Batch { commands: vec![retry] }).await.expect("commits").outcomes.remove(0);
    assert!(matches!(outcome, Ok(Outcome::Enqueued(_))), "{outcome:?}");
}
