use std::cell::{Cell, RefCell};

use tokio::time::Instant;

use super::*;

const LEASE: Duration = Duration::from_secs(30);

/// Stands still until it is set.
#[derive(Default)]
struct Clocked(AtomicI64);

impl Clock for Clocked {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// No lease was given for a day.
fn quiet() -> LeaseActivity {
    let clock = Arc::new(Clocked::default());
    let activity = LeaseActivity::new(Arc::clone(&clock) as _);
    clock.0.store(86_400_000_000, Ordering::SeqCst);
    activity
}

/// When each of so many looks came, if they find what `found` says.
async fn looks(activity: LeaseActivity, count: usize, found: impl Fn(usize) -> Found) -> Vec<Duration> {
    let (started, times, enough) = (Instant::now(), RefCell::new(Vec::new()), tokio::sync::Notify::new());
    let seen = Cell::new(0);
    let look = || {
        times.borrow_mut().push(started.elapsed());
        seen.set(seen.get() + 1);
        if seen.get() == count {
            enough.notify_one();
        }
        std::future::ready(found(seen.get()))
    };
    tokio::select! {
        () = look_on(activity, LEASE, look) => unreachable!("it looks on"),
        () = enough.notified() => {}
        () = tokio::time::sleep(Duration::from_mins(1)) => panic!("it looked at {:?} and no more", times.borrow()),
    }
    times.take()
}

fn seconds(times: &[Duration]) -> Vec<f64> {
    times.iter().map(|time| (time.as_secs_f64() * 10.0).round() / 10.0).collect()
}

#[tokio::test(start_paused = true)]
async fn leases_are_looked_for_now_and_then_where_none_was_given_lately() {
    let times = looks(quiet(), 4, |_| Found::Nothing).await;
    assert_eq!(seconds(&times), [0.0, 2.0, 4.0, 6.0]);
}

#[tokio::test(start_paused = true)]
async fn while_one_was_given_lately_they_are_looked_for_at_every_interval() {
    let activity = quiet();
    activity.touch();
    let times = looks(activity, 4, |_| Found::Nothing).await;
    assert_eq!(seconds(&times), [0.0, 0.5, 1.0, 1.5]);
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_or_could_not_be_looked_for_makes_looks_frequent_again() {
    for other in [Found::Lost, Found::Unknown] {
        let times = looks(quiet(), 4, |n| if n == 2 { other } else { Found::Nothing }).await;
        assert_eq!(seconds(&times), [0.0, 2.0, 2.5, 3.0], "{other:?}");
    }
}
