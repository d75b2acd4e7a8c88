//! The journal against a store that fails at will.

mod flaky;
mod lanes;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tidings_core::{Epoch, Event, JobId, TenantId, job::Progress};

use super::{BatchObserved, CommitSink, Journal, JournalConfig};
use crate::{
    Command, CommandError, Idempotency, Operation, Outcome,
    conformance::{event, in_tenant},
};
use flaky::{Chance, FlakyStore, number_of};

#[derive(Default)]
struct Recorder {
    events: Mutex<Vec<Arc<Event>>>,
    observed: AtomicUsize,
}

impl CommitSink for Recorder {
    fn committed(&self, events: &[Arc<Event>], _: &[(TenantId, Epoch)]) {
        self.events.lock().extend_from_slice(events);
    }

    fn batch_observed(&self, batch: BatchObserved) {
        self.observed.fetch_add(batch.commands, Ordering::Relaxed);
    }
}

fn publish(n: usize) -> Command {
    publish_keyed(n, None)
}

fn publish_keyed(n: usize, key: Option<usize>) -> Command {
    let idempotency = key.map(|key| Idempotency {
        route: "/events".into(),
        key: key.to_string().into(),
        body_hash: [0; 32],
    });
    in_tenant("acme", Operation::Publish { events: vec![event(&n.to_string())], idempotency })
}

fn start(store: &Arc<FlakyStore>, config: JournalConfig) -> (Journal, Arc<Recorder>) {
    let sink = Arc::new(Recorder::default());
    (Journal::start(Arc::clone(store) as _, Arc::clone(&sink) as _, config), sink)
}

/// The first command's commit waits for the others, which come one after the other.
async fn while_a_commit_stands_still(
    store: &FlakyStore,
    journal: &Journal,
    commands: impl IntoIterator<Item = Command>,
) {
    let mut tasks = Vec::new();
    for (n, command) in commands.into_iter().enumerate() {
        let submitter = journal.clone();
        tasks.push(tokio::spawn(async move { submitter.submit(command).await }));
        if n == 0 {
            store.entered().await;
        }
        while journal.stats().queued < n {
            tokio::task::yield_now().await;
        }
    }
    store.open_gate();
    for task in tasks {
        task.await.expect("ends").expect("committed");
    }
}

#[tokio::test]
async fn commands_gather_while_a_commit_is_in_flight() {
    let store = Arc::new(FlakyStore::gated());
    let (journal, sink) = start(&store, JournalConfig::default());
    let submit = |n| {
        let journal = journal.clone();
        tokio::spawn(async move { journal.submit(publish(n)).await })
    };
    let first = submit(0);
    store.entered().await;
    let rest: Vec<_> = (1..=20).map(submit).collect();
    while journal.stats().queued < 20 {
        tokio::task::yield_now().await;
    }
    store.open_gate();
    for task in rest.into_iter().chain([first]) {
        task.await.expect("ends").expect("committed");
    }
    assert_eq!(store.batches(), [1, 20]);
    assert_eq!(sink.observed.load(Ordering::Relaxed), 21);
    let stats = journal.stats();
    assert_eq!((stats.queued, stats.queued_bytes, stats.batches, stats.commands), (0, 0, 2, 21));
}

#[tokio::test]
async fn a_full_queue_answers_busy_at_once() {
    let store = Arc::new(FlakyStore::gated());
    let config = JournalConfig { queue_max: 5, tenant_queue_max: 3, ..JournalConfig::default() };
    let (journal, _) = start(&store, config);
    let submit = |tenant: &'static str| {
        let journal = journal.clone();
        let operation = Operation::Publish { events: vec![event("0")], idempotency: None };
        tokio::spawn(async move { journal.submit(in_tenant(tenant, operation)).await })
    };
    let mut waiting = vec![submit("acme")];
    store.entered().await;
    waiting.extend((0..3).map(|_| submit("acme")));
    while journal.stats().queued < 3 {
        tokio::task::yield_now().await;
    }
    let refused = submit("acme").await.expect("ends");
    assert!(matches!(refused, Err(CommandError::Busy)), "the tenant's share is taken");
    waiting.extend((0..2).map(|_| submit("other")));
    while journal.stats().queued < 5 {
        tokio::task::yield_now().await;
    }
    let refused = submit("third").await.expect("ends");
    assert!(matches!(refused, Err(CommandError::Busy)), "the queue is full");
    store.open_gate();
    for task in waiting {
        task.await.expect("ends").expect("committed");
    }
    submit("acme").await.expect("ends").expect("there is room again");
}

#[tokio::test]
async fn a_dropped_submit_is_committed_all_the_same() {
    let store = Arc::new(FlakyStore::gated());
    let (journal, sink) = start(&store, JournalConfig::default());
    let first = tokio::spawn({
        let journal = journal.clone();
        async move { journal.submit(publish(0)).await }
    });
    store.entered().await;
    let dropped = tokio::spawn({
        let journal = journal.clone();
        async move { journal.submit(publish(1)).await }
    });
    while journal.stats().queued < 1 {
        tokio::task::yield_now().await;
    }
    dropped.abort();
    store.open_gate();
    first.await.expect("ends").expect("committed");
    journal.close().await;
    assert_eq!(sink.events.lock().iter().map(|e| number_of(e)).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn closing_commits_what_waits_and_refuses_the_rest() {
    let store = Arc::new(FlakyStore::gated());
    let (journal, sink) = start(&store, JournalConfig::default());
    let submit = |n| {
        let journal = journal.clone();
        tokio::spawn(async move { journal.submit(publish(n)).await })
    };
    let first = submit(0);
    store.entered().await;
    let second = submit(1);
    while journal.stats().queued < 1 {
        tokio::task::yield_now().await;
    }
    let closing = tokio::spawn({
        let journal = journal.clone();
        async move { journal.close().await }
    });
    tokio::task::yield_now().await;
    let late = submit(2).await.expect("ends");
    assert!(matches!(late, Err(CommandError::Unavailable)), "{late:?}");
    store.open_gate();
    closing.await.expect("ends");
    assert!(first.await.expect("ends").is_ok() && second.await.expect("ends").is_ok());
    assert_eq!(sink.events.lock().len(), 2);
}

#[tokio::test]
async fn a_store_that_panics_leaves_nobody_waiting() {
    let store = Arc::new(FlakyStore::new(0, Chance { panics: 1.0, ..Chance::default() }));
    let (journal, _) = start(&store, JournalConfig::default());
    let outcome = journal.submit(publish(0)).await;
    assert!(matches!(outcome, Err(CommandError::OutcomeUnknown)), "{outcome:?}");
    while !matches!(journal.submit(publish(1)).await, Err(CommandError::Unavailable)) {
        tokio::task::yield_now().await;
    }
    journal.close().await;
}

#[tokio::test]
async fn the_culprit_alone_is_rejected() {
    let store = Arc::new(FlakyStore::gated());
    let (journal, sink) = start(&store, JournalConfig::default());
    let submit = |n| {
        let journal = journal.clone();
        tokio::spawn(async move { journal.submit(publish(n)).await })
    };
    let first = submit(0);
    store.entered().await;
    store.reject([5, 6]);
    let mut tasks = vec![first];
    for n in 1..=10 {
        tasks.push(submit(n));
        while journal.stats().queued < n {
            tokio::task::yield_now().await;
        }
    }
    store.open_gate();
    for (n, task) in tasks.into_iter().enumerate() {
        let outcome = task.await.expect("ends");
        match n {
            5 | 6 => assert!(matches!(outcome, Err(CommandError::Rejected(_))), "{n}: {outcome:?}"),
            _ => assert!(outcome.is_ok(), "{n}: {outcome:?}"),
        }
    }
    let told: Vec<_> = sink.events.lock().iter().map(|e| number_of(e)).collect();
    assert_eq!(told, [0, 1, 2, 3, 4, 7, 8, 9, 10], "in order of arrival");
}

#[tokio::test]
async fn commands_on_one_job_or_key_go_in_successive_batches() {
    let store = Arc::new(FlakyStore::gated());
    let (journal, _) = start(&store, JournalConfig::default());
    let progress = |job: u8, percent| {
        let progress = Progress { percent, message: None };
        let job = JobId::from_bytes([job; 16]);
        in_tenant("acme", Operation::Progress { job, lease_no: 1, progress })
    };
    let commands = [
        progress(9, 0),
        progress(1, 1),
        progress(2, 2),
        progress(1, 3),
        publish_keyed(0, Some(7)),
        progress(1, 4),
        publish_keyed(1, Some(7)),
        progress(2, 5),
    ];
    while_a_commit_stands_still(&store, &journal, commands).await;
    assert_eq!(store.batches(), [1, 3, 3, 1]);
}

#[tokio::test]
async fn what_is_passed_over_holds_back_all_its_keys() {
    let store = Arc::new(FlakyStore::gated());
    let (journal, _) = start(&store, JournalConfig::default());
    let cancel = |job: u8| in_tenant("acme", Operation::Cancel { job: JobId::from_bytes([job; 16]) });
    let (job, id) = (JobId::from_bytes([1; 16]), JobId::from_bytes([2; 16]));
    let retry = in_tenant("acme", Operation::Retry { job, id, idempotency: None });
    while_a_commit_stands_still(&store, &journal, [cancel(9), cancel(1), retry, cancel(2)]).await;
    // The retry waits for the first job, and the second job's cancellation came after the retry.
    assert_eq!(store.batches(), [1, 1, 1, 1]);
}

/// The model: whatever the store answers, each submit gets exactly one answer; what was answered well
/// is applied once, what was answered with a refusal is not, and only a doubtful outcome may be either;
/// the events are told once, in the order in which they were applied; each key keeps its order.
#[tokio::test]
async fn ambiguous_outcomes_are_told_as_they_are() {
    for round in 0..30 {
        let seed: u64 = rand::rng().random();
        println!("round {round}: seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let chance = Chance { unknown: 0.1, unavailable: 0.1, rejected: 0.1, panics: 0.0 };
        let store = Arc::new(FlakyStore::new(seed, chance));
        let config = JournalConfig { batch_max: random.random_range(1..20), ..JournalConfig::default() };
        let (journal, sink) = start(&store, config);
        let commands: usize = 300;
        let keys: Vec<_> = (0..commands).map(|_| random.random_range(0..8_usize)).collect();
        let mut tasks = Vec::new();
        for (n, key) in keys.iter().copied().enumerate() {
            let journal = journal.clone();
            tasks.push(tokio::spawn(async move { journal.submit(publish_keyed(n, Some(key))).await }));
            if random.random_bool(0.2) {
                tokio::task::yield_now().await;
            }
        }
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.expect("every submit is answered"));
        }
        journal.close().await;
        check(&store, &sink, &outcomes, &keys);
    }
}

fn check(store: &FlakyStore, sink: &Recorder, outcomes: &[Result<Outcome, CommandError>], keys: &[usize]) {
    let applied = store.applied();
    let mut times: HashMap<usize, usize> = HashMap::new();
    for n in &applied {
        *times.entry(*n).or_default() += 1;
    }
    for (n, outcome) in outcomes.iter().enumerate() {
        let times = times.get(&n).copied().unwrap_or(0);
        match outcome {
            Ok(Outcome::Published(published)) => {
                assert_eq!(times, 1, "{n} was accepted");
                assert_eq!(applied[published[0].seq.get() as usize - 1], n, "and is where its answer says");
            }
            Err(CommandError::OutcomeUnknown) => assert!(times <= 1, "{n} is doubtful"),
            Err(CommandError::Unavailable | CommandError::Rejected(_)) => {
                assert_eq!(times, 0, "{n} was refused");
            }
            other => panic!("{n} was answered {other:?}"),
        }
    }
    let told: Vec<_> = sink.events.lock().iter().map(|e| number_of(e)).collect();
    let known: Vec<_> = applied.iter().copied().filter(|n| outcomes[*n].is_ok()).collect();
    assert_eq!(told, known, "each accepted event is told once, in commit order");
    for key in 0..8 {
        let of_key: Vec<_> = applied.iter().filter(|n| keys[**n] == key).collect();
        assert!(of_key.is_sorted(), "the order of key {key} is kept: {of_key:?}");
    }
}
