//! What the nodes share beside the log.

use std::time::Duration;

use tidings_core::webhook::Partition;

use super::*;
use crate::{
    Cluster as _, Command, Duty, Holder, Maintain, Operation, Outcome, PlacesAsked, PlacesGiven,
    conformance::{ManualClock, World, in_tenant, tenant_id, work},
};

/// Two nodes on one database whose time is moved by hand.
async fn two() -> (Arc<ManualClock>, [PostgresStore; 2]) {
    let url = SERVER.fresh_database();
    let clock = Arc::new(ManualClock::default());
    let config =
        PostgresConfig { clock: StoreClock::Injected(Arc::clone(&clock) as _), ..PostgresConfig::new(url) };
    let nodes = [open(config.clone()).await, open(config).await];
    (clock, nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_at_a_time_leads_a_duty() {
    let (clock, [a, b]) = two().await;
    assert_eq!(a.lead(Duty::Rescue).await.expect("asked"), Some(1));
    assert_eq!(b.lead(Duty::Rescue).await.expect("asked"), None);
    assert_eq!(b.lead(Duty::Retention).await.expect("asked"), Some(1), "another duty");
    clock.advance(Duration::from_secs(9));
    assert_eq!(a.lead(Duty::Rescue).await.expect("asked"), Some(1), "renewed");
    clock.advance(Duration::from_secs(9));
    assert_eq!(b.lead(Duty::Rescue).await.expect("asked"), None);
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        b.lead(Duty::Rescue).await.expect("asked"),
        Some(2),
        "a term ends ten seconds after its renewal"
    );
    assert_eq!(a.lead(Duty::Rescue).await.expect("asked"), None);
    a.resign(Duty::Rescue).await.expect("not its own");
    assert_eq!(a.lead(Duty::Rescue).await.expect("asked"), None);
    b.resign(Duty::Rescue).await.expect("given back");
    assert_eq!(a.lead(Duty::Rescue).await.expect("asked"), Some(3), "at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_deliver_are_counted_while_they_say_so() {
    let (clock, [a, b]) = two().await;
    assert_eq!(a.delivering().await.expect("asked"), 1);
    assert_eq!(b.delivering().await.expect("asked"), 2);
    clock.advance(Duration::from_secs(6));
    assert_eq!(a.delivering().await.expect("asked"), 2);
    clock.advance(Duration::from_secs(6));
    assert_eq!(a.delivering().await.expect("asked"), 1, "the other has not said so for twelve seconds");
    clock.advance(Duration::from_hours(2));
    assert_eq!(b.delivering().await.expect("asked"), 1, "after a pause too");
    assert_eq!(a.delivering().await.expect("asked"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_partition_of_webhooks_is_a_duty_of_its_own() {
    let (_, [a, b]) = two().await;
    for partition in Partition::all() {
        let (mine, theirs) = if partition.number() % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let duty = Duty::Webhooks(partition);
        assert_eq!(mine.lead(duty).await.expect("asked"), Some(1), "{duty:?}");
        assert_eq!(theirs.lead(duty).await.expect("asked"), None, "{duty:?}");
    }
    let names: std::collections::HashSet<_> =
        Partition::all().map(|partition| Duty::Webhooks(partition).as_str()).collect();
    assert_eq!(names.len(), 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_extends_every_lease_once() {
    let (clock, [a, b]) = two().await;
    let world = World { store: Arc::new(a.clone()), clock: Arc::clone(&clock) };
    let id = world.enqueue("acme", work()).await;
    a.beat().await.expect("alive");
    let lease = world.lease("acme").await;
    clock.advance(Duration::from_mins(1));
    let rescue = || Command::Maintain(Maintain::Rescue { limit: 10 });
    // Whoever comes first, a beat or a rescue, finds the outage.
    let (first, second, third) = tokio::join!(b.beat(), a.beat(), world.run(rescue()));
    first.expect("alive");
    second.expect("alive");
    let Ok(Outcome::Swept(swept)) = third else { panic!("answered {third:?}") };
    assert_eq!(swept.rows, 0, "no lease is lost to an outage");
    world
        .job_after(
            "acme",
            Operation::Progress {
                job: id,
                lease_no: lease.lease_no,
                progress: tidings_core::job::Progress { percent: 1, message: None },
            },
        )
        .await
        .expect("the lease holds");
    let tidings_core::JobState::Running { lease: before, .. } = lease.state else { panic!("it runs") };
    for _ in 0..3 {
        // Beats that come in time extend nothing.
        clock.advance(Duration::from_secs(2));
        a.beat().await.expect("alive");
    }
    let tidings_core::JobState::Running { lease, .. } = world.job("acme", id).await.state else {
        panic!("it runs")
    };
    assert_eq!(lease.expires_at.since(before.expires_at), Duration::from_mins(1), "by its length, once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_after_an_outage_comes_before_its_lease_is_judged() {
    for remembered in [true, false] {
        let (clock, [a, b]) = two().await;
        let world = World { store: Arc::new(a.clone()), clock: Arc::clone(&clock) };
        let id = world.enqueue("acme", work()).await;
        a.beat().await.expect("alive");
        let lease = world.lease("acme").await;
        clock.advance(Duration::from_mins(1));
        let progress = tidings_core::job::Progress { percent: 1, message: None };
        let report = Operation::Progress { job: id, lease_no: lease.lease_no, progress };
        let node = if remembered { a } else { b };
        let committed = node.commit(0, &Batch { commands: vec![in_tenant("acme", report)] }).await;
        committed.expect("commits").outcomes.remove(0).expect("the lease holds");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_at_once_end_with_the_same_secret() {
    let (_, [a, b]) = two().await;
    assert_eq!(a.secret("signing").await.expect("asked"), None);
    let (first, second) = tokio::join!(a.offer_secret("signing", b"a"), b.offer_secret("signing", b"b"));
    let kept = first.expect("kept");
    assert_eq!(kept, second.expect("kept"));
    assert!(!a.replace_secret("signing", b"neither", b"c").await.expect("asked"));
    assert!(b.replace_secret("signing", &kept, b"c").await.expect("asked"));
    assert_eq!(a.secret("signing").await.expect("asked"), Some(b"c".to_vec()));
    let ensure = in_tenant("acme", Operation::Ensure);
    a.commit(0, &Batch { commands: vec![ensure] }).await.expect("committed");
}

fn places(tenant: &str, user: Option<&str>, kept: u32, asked: u32) -> PlacesAsked {
    let user = user.map(|user| user.parse().expect("a user"));
    PlacesAsked { holder: Holder { tenant: tenant_id(tenant), user }, kept, asked, limit: Some(5) }
}

/// What one holder's question is answered with: given, and elsewhere.
async fn take(node: &PostgresStore, asked: PlacesAsked) -> (u32, u32) {
    let answers = node.places(&[asked]).await.expect("asked");
    let [PlacesGiven { given, elsewhere }] = answers[..] else { panic!("answered {answers:?}") };
    (given, elsewhere)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_counted_over_nodes_and_come_free_with_a_dead_one() {
    let (clock, [a, b]) = two().await;
    let ana = |kept, asked| places("acme", Some("ana"), kept, asked);
    assert_eq!(take(&a, ana(0, 3)).await, (3, 0));
    assert_eq!(take(&b, ana(0, 4)).await, (2, 3), "as many as are left");
    assert_eq!(take(&a, ana(3, 1)).await, (0, 2));
    assert_eq!(take(&a, places("acme", Some("ben"), 0, 5)).await, (5, 0), "another user");
    assert_eq!(take(&a, places("other", Some("ana"), 0, 5)).await, (5, 0), "another tenant");
    assert_eq!(take(&a, places("acme", None, 0, 5)).await, (5, 0), "the tenant as a whole");
    assert_eq!(take(&a, PlacesAsked { limit: None, ..places("acme", None, 5, 9) }).await, (9, 0));
    // What was said twice, as after a lost answer, counts once.
    assert_eq!(take(&b, ana(2, 0)).await, (0, 3));
    assert_eq!(take(&b, ana(2, 0)).await, (0, 3));
    assert_eq!(take(&b, ana(0, 0)).await, (0, 3), "b has let go");
    assert_eq!(take(&a, ana(3, 2)).await, (2, 0));

    clock.advance(Duration::from_secs(9));
    a.beat().await.expect("alive");
    assert_eq!(take(&b, ana(0, 1)).await, (0, 5));
    clock.advance(Duration::from_secs(9));
    assert_eq!(take(&b, ana(0, 1)).await, (0, 5), "a beat nine seconds ago");
    clock.advance(Duration::from_secs(1));
    assert_eq!(take(&b, ana(0, 1)).await, (1, 0), "a is dead");
    a.beat().await.expect("alive");
    assert_eq!(take(&b, ana(1, 1)).await, (0, 5), "it was only cut off: what it has counts again");
    assert_eq!(take(&a, ana(5, 1)).await, (0, 1), "nothing is taken away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_ask_at_once_are_never_given_more_than_the_limit() {
    let (_, nodes) = two().await;
    let users: Vec<String> = (0..20).map(|n| format!("user-{n}")).collect();
    let storm = |node: usize, users: Vec<String>| {
        let store = nodes[node].clone();
        async move {
            let mut has = vec![0; users.len()];
            for round in 0..8 {
                // In another order each time, which must not make two nodes wait for each other.
                let mut order: Vec<usize> = (0..users.len()).collect();
                order.rotate_left(round * (node + 2) % users.len());
                let asked: Vec<_> =
                    order.iter().map(|at| places("acme", Some(&users[*at]), has[*at], 1)).collect();
                let answers = store.places(&asked).await.expect("asked");
                for (at, answer) in order.iter().zip(answers) {
                    has[*at] += answer.given;
                }
            }
            has
        }
    };
    let (one, two) = tokio::join!(tokio::spawn(storm(0, users.clone())), tokio::spawn(storm(1, users)));
    let (one, two) = (one.expect("ends well"), two.expect("ends well"));
    let sums: Vec<u32> = one.iter().zip(&two).map(|(a, b)| a + b).collect();
    assert_eq!(sums, vec![5; 20], "{one:?} {two:?}");
}
