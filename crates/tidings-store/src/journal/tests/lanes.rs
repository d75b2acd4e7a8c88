//! Several lanes: what each holds, and that none holds up another.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_core::{EndpointId, Tenants, WorkerName};
use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::{Batch, Claim, Claimed, CommitError, Committed, Report, stand_in::StandIn};

const LANES: usize = 4;

/// It keeps who came through which lane; one lane may stand still or panic.
#[derive(Default)]
struct Lanes {
    came: Mutex<[Vec<Command>; LANES]>,
    in_flight: [AtomicUsize; LANES],
    most_in_a_lane: AtomicUsize,
    still: Option<Still>,
    panics: Option<usize>,
}

struct Still {
    lane: usize,
    entered: Notify,
    gate: Semaphore,
}

impl Lanes {
    fn with_still(lane: usize) -> Self {
        let still = Still { lane, entered: Notify::new(), gate: Semaphore::new(0) };
        Self { still: Some(still), ..Self::default() }
    }

    async fn pass(&self, lane: usize) {
        let Some(still) = self.still.as_ref().filter(|still| still.lane == lane) else { return };
        still.entered.notify_one();
        let _ = still.gate.acquire().await.expect("never closed");
    }

    /// The tenants that came through each lane, in order.
    fn tenants(&self) -> [Vec<String>; LANES] {
        let tenant = |command: &Command| match command {
            Command::Tenant { tenant, .. } => tenant.to_string(),
            Command::Claim(_) => "several".to_owned(),
            other => panic!("nobody submits {other:?}"),
        };
        let came = self.came.lock();
        std::array::from_fn(|lane| came[lane].iter().map(tenant).collect())
    }
}

#[async_trait]
impl StandIn for Lanes {
    fn lanes(&self) -> usize {
        LANES
    }

    async fn commit(&self, lane: usize, batch: &Batch) -> Result<Committed, CommitError> {
        assert!(self.panics != Some(lane), "a lane that panics");
        let at_once = self.in_flight[lane].fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_a_lane.fetch_max(at_once, Ordering::SeqCst);
        self.pass(lane).await;
        self.came.lock()[lane].extend(batch.commands.iter().cloned());
        self.in_flight[lane].fetch_sub(1, Ordering::SeqCst);
        let outcome = |command: &Command| match command {
            Command::Claim(_) => Ok(Outcome::Claimed(Claimed { leases: vec![], next_due: None })),
            _ => Ok(Outcome::Done),
        };
        let outcomes = batch.commands.iter().map(outcome).collect();
        Ok(Committed { outcomes, events: vec![], epochs: vec![] })
    }
}

fn journal(store: &Arc<Lanes>) -> Journal {
    let sink = Arc::new(Recorder::default());
    Journal::start(Arc::clone(store) as _, sink as _, JournalConfig::default())
}

fn ensure(tenant: &str) -> Command {
    in_tenant(tenant, Operation::Ensure)
}

fn lane_of(tenant: &str) -> usize {
    super::super::lane::of(&ensure(tenant), LANES)
}

/// A tenant of each lane.
fn one_of_each() -> [String; LANES] {
    let mut names = (0..).map(|n| format!("tenant-{n}"));
    std::array::from_fn(|lane| names.by_ref().find(|name| lane_of(name) == lane).expect("there is one"))
}

#[tokio::test]
async fn a_tenant_keeps_to_one_lane_and_its_order() {
    let store = Arc::new(Lanes::default());
    let journal = journal(&store);
    let mut tasks = Vec::new();
    for n in 0..400 {
        let (journal, tenant) = (journal.clone(), format!("tenant-{}", n % 40));
        tasks.push(tokio::spawn(async move { journal.submit(ensure(&tenant)).await }));
    }
    for task in tasks {
        task.await.expect("ends").expect("committed");
    }
    let came = store.tenants();
    let mut lanes: BTreeMap<&str, HashSet<usize>> = BTreeMap::new();
    for (lane, tenants) in came.iter().enumerate() {
        assert!(!tenants.is_empty(), "lane {lane} has some of forty tenants");
        for tenant in tenants {
            lanes.entry(tenant).or_default().insert(lane);
        }
    }
    assert_eq!((lanes.len(), came.iter().map(Vec::len).sum::<usize>()), (40, 400));
    assert!(lanes.values().all(|lanes| lanes.len() == 1), "{lanes:?}");
    assert_eq!(store.most_in_a_lane.load(Ordering::SeqCst), 1, "a lane has one commit in flight");
}

#[tokio::test]
async fn what_concerns_several_tenants_goes_through_the_first_lane() {
    let store = Arc::new(Lanes::default());
    let journal = journal(&store);
    let claim = Command::Claim(Claim {
        tenants: Tenants::All,
        worker: WorkerName::new("w").expect("valid"),
        types: vec!["work".parse().expect("valid")],
        max: 1,
        length: std::time::Duration::from_secs(30),
    });
    journal.submit(claim).await.expect("committed");
    assert_eq!(store.tenants(), [vec!["several".to_owned()], vec![], vec![], vec![]]);
}

#[tokio::test]
async fn a_lane_that_stands_still_holds_up_no_other() {
    let store = Arc::new(Lanes::with_still(1));
    let journal = journal(&store);
    let tenants = one_of_each();
    let held = tokio::spawn({
        let (journal, tenant) = (journal.clone(), tenants[1].clone());
        async move { journal.submit(ensure(&tenant)).await }
    });
    let still = store.still.as_ref().expect("one does");
    still.entered.notified().await;
    for lane in [0, 2, 3] {
        journal.submit(ensure(&tenants[lane])).await.expect("committed");
    }
    assert!(!held.is_finished());
    still.gate.add_permits(1);
    held.await.expect("ends").expect("committed");
}

#[tokio::test]
async fn a_lane_that_dies_takes_no_other_with_it_before_its_work_is_done() {
    let store = Arc::new(Lanes { panics: Some(2), ..Lanes::with_still(1) });
    let journal = journal(&store);
    let tenants = one_of_each();
    let waits = tokio::spawn({
        let (journal, tenant) = (journal.clone(), tenants[1].clone());
        async move { journal.submit(ensure(&tenant)).await }
    });
    let still = store.still.as_ref().expect("one does");
    still.entered.notified().await;
    let dead = journal.submit(ensure(&tenants[2])).await;
    assert!(matches!(dead, Err(CommandError::OutcomeUnknown)), "{dead:?}");
    while !matches!(journal.submit(ensure(&tenants[3])).await, Err(CommandError::Unavailable)) {
        tokio::task::yield_now().await;
    }
    still.gate.add_permits(1);
    waits.await.expect("ends").expect("what another lane had is committed");
    journal.close().await;
}

/// It commits reports apart, and stands still with them.
#[derive(Default)]
struct Apart {
    came: Mutex<Vec<Vec<Command>>>,
    first: Notify,
    gate: Notify,
    reports: Notify,
    reports_gate: Notify,
}

#[async_trait]
impl StandIn for Apart {
    fn reports_apart(&self) -> bool {
        true
    }

    async fn commit(&self, _: usize, batch: &Batch) -> Result<Committed, CommitError> {
        let is_first = {
            let mut came = self.came.lock();
            came.push(batch.commands.clone());
            came.len() == 1
        };
        if is_first {
            self.first.notify_one();
            self.gate.notified().await;
        } else if batch.commands.iter().any(Command::is_report) {
            self.reports.notify_one();
            self.reports_gate.notified().await;
        }
        let outcome = |command: &Command| match command {
            Command::Tenant { operation: Operation::Report(report), .. } => {
                Ok(Outcome::Reported { current: report.endpoint == endpoint(1) })
            }
            _ => Ok(Outcome::Done),
        };
        let outcomes = batch.commands.iter().map(outcome).collect();
        Ok(Committed { outcomes, events: vec![], epochs: vec![] })
    }
}

const fn endpoint(n: u8) -> EndpointId {
    EndpointId::from_bytes([n; 16])
}

#[tokio::test]
async fn what_is_gathered_with_reports_does_not_wait_for_them() {
    let store = Arc::new(Apart::default());
    let journal =
        Journal::start(Arc::clone(&store) as _, Arc::new(Recorder::default()) as _, JournalConfig::default());
    let submit = |command| {
        let journal = journal.clone();
        tokio::spawn(async move { journal.submit(command).await })
    };
    let report = |n| {
        let report = Report::new(endpoint(n), 1);
        in_tenant("acme", Operation::Report(Box::new(report)))
    };
    let first = submit(ensure("acme"));
    store.first.notified().await;
    let mut waiting = Vec::new();
    for (n, command) in [report(1), ensure("other"), report(2)].into_iter().enumerate() {
        waiting.push(submit(command));
        while journal.stats().queued <= n {
            tokio::task::yield_now().await;
        }
    }
    store.gate.notify_one();
    first.await.expect("ends").expect("committed");
    assert!(matches!(waiting.remove(1).await.expect("ends"), Ok(Outcome::Done)));
    store.reports.notified().await;
    assert!(!waiting.iter().any(tokio::task::JoinHandle::is_finished));
    store.reports_gate.notify_one();
    for (report, is_current) in waiting.into_iter().zip([true, false]) {
        let outcome = report.await.expect("ends");
        assert!(matches!(outcome, Ok(Outcome::Reported { current }) if current == is_current), "{outcome:?}");
    }
    let reported = |command: &Command| match command {
        Command::Tenant { operation: Operation::Report(report), .. } => Some(report.endpoint),
        _ => None,
    };
    let came: Vec<Vec<_>> =
        store.came.lock().iter().map(|batch| batch.iter().map(reported).collect()).collect();
    assert_eq!(came, [vec![None], vec![None], vec![Some(endpoint(1)), Some(endpoint(2))]]);
    assert_eq!((journal.stats().batches, journal.stats().commands), (3, 4));
}
