use std::{collections::VecDeque, time::Duration};

use tidings_core::{JobId, TenantId};

use super::*;

/// Takes or refuses writes as a test says, and keeps those that it took.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    /// Of the next writes, in order; afterwards all are taken.
    refusals: VecDeque<CommandError>,
    is_out: bool,
    tries: usize,
    written: Vec<u8>,
}

impl Store {
    fn refuse(&self, error: CommandError) {
        self.0.lock().refusals.push_back(error);
    }

    fn set_out(&self, is_out: bool) {
        self.0.lock().is_out = is_out;
    }

    fn written(&self) -> Vec<u8> {
        self.0.lock().written.clone()
    }

    fn tries(&self) -> usize {
        self.0.lock().tries
    }

    fn desk(&self) -> ProgressDesk {
        let store = self.clone();
        let submit = move |command| {
            let answer = store.answer(&command);
            async move { answer }.boxed()
        };
        ProgressDesk::with(Box::new(submit), Rate { count: 10, per: Duration::from_secs(1) })
    }

    fn answer(&self, command: &Command) -> Result<(), CommandError> {
        let Command::Tenant { operation: Operation::Progress { progress, .. }, .. } = command else {
            panic!("{command:?} is no progress");
        };
        let mut script = self.0.lock();
        script.tries += 1;
        if script.is_out {
            return Err(CommandError::Unavailable);
        }
        if let Some(error) = script.refusals.pop_front() {
            return Err(error);
        }
        script.written.push(progress.percent);
        Ok(())
    }
}

fn lease(lease_no: u64) -> LeaseToken {
    LeaseToken { tenant: TenantId::new("acme").expect("valid"), job: JobId::from_bytes([7; 16]), lease_no }
}

fn at(percent: u8) -> Progress {
    Progress { percent, message: None }
}

async fn report(desk: &ProgressDesk, percent: u8) -> Result<Reported, CommandError> {
    desk.report(&lease(1), at(percent)).await
}

/// Time passes when nothing else can happen.
async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_is_written_and_of_those_that_follow_the_newest() {
    let store = Store::default();
    let desk = store.desk();
    assert_eq!(report(&desk, 1).await, Ok(Reported::Written));
    assert_eq!(report(&desk, 2).await, Ok(Reported::Coalesced));
    assert_eq!(report(&desk, 3).await, Ok(Reported::Coalesced));
    assert_eq!(store.written(), [1]);
    pass(101).await;
    assert_eq!(store.written(), [1, 3]);
    pass(201).await;
    assert_eq!(report(&desk, 4).await, Ok(Reported::Written), "the interval is over");
}

#[tokio::test(start_paused = true)]
async fn what_waits_outlasts_an_outage() {
    let store = Store::default();
    let desk = store.desk();
    report(&desk, 1).await.expect("taken");
    report(&desk, 2).await.expect("taken");
    store.set_out(true);
    pass(2_000).await;
    assert_eq!(store.written(), [1]);
    assert!(store.tries() > 5, "it is tried again and again");
    store.set_out(false);
    pass(201).await;
    assert_eq!(store.written(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_report_replaces_what_an_outage_has_left() {
    let store = Store::default();
    let desk = store.desk();
    report(&desk, 1).await.expect("taken");
    report(&desk, 2).await.expect("taken");
    store.refuse(CommandError::OutcomeUnknown);
    pass(101).await;
    report(&desk, 3).await.expect("taken");
    pass(1_000).await;
    assert_eq!(store.written(), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_first_report_that_fails_takes_nothing_with_it() {
    let store = Store::default();
    let desk = store.desk();
    store.refuse(CommandError::Busy);
    assert_eq!(report(&desk, 1).await, Err(CommandError::Busy));
    assert_eq!(report(&desk, 2).await, Ok(Reported::Coalesced));
    pass(101).await;
    assert_eq!(store.written(), [2]);
}

#[tokio::test(start_paused = true)]
async fn what_a_last_report_carried_comes_back_where_that_fails() {
    let store = Store::default();
    let desk = store.desk();
    report(&desk, 1).await.expect("taken");
    report(&desk, 2).await.expect("taken");
    let lent = desk.lend(&lease(1));
    assert_eq!(lent.progress(), Some(at(2)));
    pass(1_000).await;
    assert_eq!(store.written(), [1], "the last report has it");
    drop(lent);
    pass(201).await;
    assert_eq!(store.written(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_replaces_nothing_newer() {
    let store = Store::default();
    let desk = store.desk();
    report(&desk, 1).await.expect("taken");
    report(&desk, 2).await.expect("taken");
    let lent = desk.lend(&lease(1));
    report(&desk, 3).await.expect("taken");
    pass(1_000).await;
    drop(lent);
    pass(1_000).await;
    assert_eq!(store.written(), [1, 3]);
}

#[tokio::test(start_paused = true)]
async fn what_went_with_a_last_report_is_gone() {
    let store = Store::default();
    let desk = store.desk();
    report(&desk, 1).await.expect("taken");
    report(&desk, 2).await.expect("taken");
    desk.lend(&lease(1)).settled();
    store.refuse(CommandError::Refused(tidings_core::job::Refused::LeaseLost));
    assert!(report(&desk, 3).await.is_err(), "the lease is over: the store is asked at once");
    pass(1_000).await;
    assert_eq!(store.written(), [1]);
    assert_eq!(desk.0.state.lock().recent.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_told_of_at_once_each_time() {
    let store = Store::default();
    let desk = store.desk();
    let lost = || CommandError::Refused(tidings_core::job::Refused::LeaseLost);
    store.refuse(lost());
    store.refuse(lost());
    assert_eq!(report(&desk, 1).await, Err(lost()));
    assert_eq!(report(&desk, 2).await, Err(lost()));
    pass(1_000).await;
    assert_eq!((store.tries(), desk.0.state.lock().recent.len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_all_that_waits_and_takes_nothing_more() {
    let store = Store::default();
    let desk = store.desk();
    let leases = ProgressDesk::WRITES_MAX as u64 * 10;
    for n in 0..leases {
        desk.report(&lease(n), at(1)).await.expect("taken");
        desk.report(&lease(n), at(2)).await.expect("taken");
    }
    for _ in 0..ProgressDesk::WRITES_MAX {
        store.refuse(CommandError::Busy);
    }
    desk.flush().await;
    assert_eq!(store.written().into_iter().map(|percent| u64::from(percent == 2)).sum::<u64>(), leases);
    assert_eq!(report(&desk, 3).await, Err(CommandError::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_ever() {
    let store = Store::default();
    let desk = store.desk();
    report(&desk, 1).await.expect("taken");
    report(&desk, 2).await.expect("taken");
    store.set_out(true);
    desk.flush().await;
    assert_eq!(desk.0.state.lock().recent.len(), 1, "what was lost is counted");
}
