use std::time::Duration;

use tidings_core::{Seq, Tenants};

use super::world::{PAGE, World, tenant_id, work};
use crate::{Command, LogState, Maintain, Operation, Outcome, Retention, Swept};

async fn retain(world: &World, age: Option<Duration>, count: Option<u64>, limit: usize) -> Swept {
    let retention = Retention::of_log(age, count);
    match world.run(Command::Maintain(Maintain::Retain { retention, limit })).await {
        Ok(Outcome::Swept(swept)) => swept,
        other => panic!("retention answered {other:?}"),
    }
}

async fn retain_all(world: &World, age: Option<Duration>, count: Option<u64>) -> usize {
    let mut rows = 0;
    for _ in 0..1_000 {
        let swept = retain(world, age, count, 3).await;
        rows += swept.rows;
        if !swept.more {
            return rows;
        }
    }
    panic!("retention comes to no end");
}

async fn log(world: &World, tenant: &str) -> LogState {
    world.store.log_state(&tenant_id(tenant)).await.expect("reads").expect("exists")
}

pub(super) async fn a_log_is_cut_by_count(world: World) {
    world.publish("a", 10).await;
    world.publish("b", 4).await;
    world.publish("c", 12).await;
    assert_eq!(retain_all(&world, None, Some(5)).await, 5 + 7);
    for (tenant, oldest, head) in [("a", 6, 10), ("b", 1, 4), ("c", 8, 12)] {
        let state = log(&world, tenant).await;
        assert_eq!((state.oldest, state.head), (Seq::new(oldest), Seq::new(head)));
        let seqs: Vec<_> = world.log(tenant).await.iter().map(|e| e.seq.get()).collect();
        assert_eq!(seqs, (oldest..=head).collect::<Vec<_>>());
    }
    assert_eq!(world.publish("a", 1).await[0].seq, Seq::new(11));
    assert_eq!(retain_all(&world, None, None).await, 0);
}

pub(super) async fn a_log_is_cut_by_age(world: World) {
    for _ in 0..5 {
        world.publish("acme", 2).await;
        world.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(retain_all(&world, Some(Duration::from_mins(3)), None).await, 4);
    assert_eq!(log(&world, "acme").await.oldest, Seq::new(5));
    world.clock.advance(Duration::from_hours(1));
    assert_eq!(retain_all(&world, Some(Duration::from_mins(3)), None).await, 6);
    let state = log(&world, "acme").await;
    assert_eq!((state.oldest, state.head), (Seq::new(11), Seq::new(10)), "nothing is kept");
    let page = world.store.events(&tenant_id("acme"), Seq::ZERO, PAGE).await.expect("reads").expect("exists");
    assert_eq!((page.events.len(), page.scanned_to), (0, Seq::new(10)));
    assert_eq!(world.publish("acme", 1).await[0].seq, Seq::new(11));
    assert_eq!(world.log("acme").await.len(), 1);
}

pub(super) async fn the_floor_moves_before_the_rows_go(world: World) {
    world.publish("acme", 10).await;
    let swept = retain(&world, None, Some(2), 3).await;
    assert_eq!(swept, Swept { rows: 3, more: true, ..Swept::default() });
    assert_eq!(log(&world, "acme").await.oldest, Seq::new(9));
    let page =
        world.store.events(&tenant_id("acme"), Seq::new(1), PAGE).await.expect("reads").expect("exists");
    assert_eq!(page.events.iter().map(|e| e.seq.get()).collect::<Vec<_>>(), [9, 10]);
    assert_eq!(page.log.oldest, Seq::new(9), "a reader sees that it has lost events");
    assert_eq!(world.store.event(&tenant_id("acme"), Seq::new(8)).await.expect("reads"), None);
    assert_eq!(retain_all(&world, None, Some(2)).await, 5);
}

pub(super) async fn finished_jobs_go_with_age(world: World) {
    let finished = world.enqueue("acme", work()).await;
    let running = world.enqueue("acme", work()).await;
    let waiting = world.enqueue("acme", work()).await;
    world.operate("acme", Operation::Cancel { job: finished }).await.expect("cancelled");
    assert_eq!(world.lease("acme").await.id.min(running), running.min(waiting));
    world.clock.advance(Duration::from_hours(1));
    let late = world.enqueue("acme", work()).await;
    world.operate("acme", Operation::Cancel { job: late }).await.expect("cancelled");
    retain_all(&world, Some(Duration::from_mins(30)), None).await;
    let acme = tenant_id("acme");
    assert_eq!(world.store.job(&acme, finished).await.expect("reads"), None);
    for kept in [running, waiting, late] {
        assert!(world.store.job(&acme, kept).await.expect("reads").is_some());
    }
    assert_eq!(world.story("acme", late).await, ["job.queued", "job.cancelled"]);
}

pub(super) async fn a_deleted_tenants_rows_go_in_pieces(world: World) {
    world.publish("acme", 7).await;
    for _ in 0..3 {
        world.enqueue("acme", work()).await;
    }
    world.claim(Tenants::All, &["work"], 1).await;
    world.operate("acme", Operation::Delete).await.expect("deleted");
    world.publish("acme", 2).await;
    assert_eq!(retain_all(&world, None, None).await, 7 + 4 + 3);
    assert_eq!(retain_all(&world, None, None).await, 0);
    assert_eq!(world.log("acme").await.len(), 2, "the tenant made again is another");
}
